"""ServiceNow orders: an item of the service catalog is ordered, the requested item is the ticket.

An order has no field for the correlation id. So it is sent as a variable of the item, by which an
order whose answer was lost is found again, and is then copied into the requested item.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from proxy.errors import ConfigurationError, ProxyError, TemporaryError
from proxy.tickets.declaring.templates import Names, text_template
from proxy.tickets.servicenow.client import SYS_ID, Instance, quoted, text_of
from proxy.tickets.servicenow.declaration import Order

_VALUE = "sc_item_option.value"
_NAME = "sc_item_option.item_option_new.name"


class Orders:
    """Orders of one catalog item; `setting` names it in errors."""

    def __init__(self, order: Order, instance: Instance, *, setting: str) -> None:
        self._order = order
        self._instance = instance
        self._setting = setting
        self._variables = {
            variable: text_template(source, f"{setting}.variables.{variable}")
            for variable, source in order.variables.items()
        }

    async def submit(
        self, names: Names, correlation_id: str, record: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Order the item and write the record's fields into the requested item; return that.

        Raises:
            TemporaryError: also for every failure after the order, because then there is a ticket.
        """
        variables = {variable: render(names) for variable, render in self._variables.items()}
        variables[self._order.correlation_variable] = correlation_id
        path = f"/api/sn_sc/servicecatalog/items/{self._order.item}/order_now"
        body = {"sysparm_quantity": str(self._order.quantity), "variables": variables}
        tree = await self._instance.call("POST", path, body, repeatable=False)
        try:
            ritm = await self._requested(self._instance.result(tree, "order"))
            await self._instance.change("sc_req_item", text_of(ritm.get("sys_id")), record)
        except ProxyError as error:
            raise TemporaryError(f"{self._setting}: it was ordered, but: {error}") from error
        return ritm

    async def find(self, correlation_id: str, marks: Mapping[str, Any]) -> Sequence[str]:
        """Return the ids of the items that were ordered for a request, oldest first; mark them.

        Raises:
            ConfigurationError: only other orders came back, so the query was ignored.
        """
        query = (
            f"{_NAME}={self._order.correlation_variable}^{_VALUE}={quoted(correlation_id)}"
            "^ORDERBYsys_created_on"
        )
        rows = await self._instance.rows("sc_item_option_mtom", query, ("request_item", _VALUE))
        matching = [row for row in rows if row.get(_VALUE) == correlation_id]
        ours = [text_of(row.get("request_item")) for row in matching]
        if rows and not ours:
            raise ConfigurationError(
                f"{self._setting}: the look-up by {self._order.correlation_variable} returned only"
                " other orders, so the query was ignored: let our account read"
                " sc_item_option_mtom and sc_item_option",
                request_specific=True,
            )
        ids = list(dict.fromkeys(filter(SYS_ID.fullmatch, ours)))
        for ritm in ids:
            await self._instance.change("sc_req_item", ritm, marks)
        return ids

    async def _requested(self, ordered: Mapping[str, Any]) -> Mapping[str, Any]:
        request = text_of(ordered.get("request_id") or ordered.get("sys_id"))
        if not SYS_ID.fullmatch(request):
            self._instance.unreadable("an order", "no request_id")
        fields = ("sys_id", "number", "request")
        rows = await self._instance.rows("sc_req_item", f"request={request}", fields)
        for row in rows:
            if text_of(row.get("request")) == request:
                return row
        raise TemporaryError(f"order {request} has no requested item yet")
