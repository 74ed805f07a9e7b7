"""The listener: hook API, ticket events, operator API, health; thin, the flow does the work."""
