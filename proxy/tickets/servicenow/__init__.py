"""ServiceNow, through its Table API and its service catalog."""
