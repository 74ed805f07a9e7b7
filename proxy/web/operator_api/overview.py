"""The overview for operators: counts, pauses and worker processes, and the last alarms."""

from dataclasses import dataclass

from aiohttp import web

from proxy.domain.models import State
from proxy.web.context import WebContext
from proxy.web.health.store_monitor import StoreMonitor
from proxy.web.http.responses import private_response
from proxy.web.operator_api.models import AlarmList, Overview
from proxy.web.operator_api.parsing import authorize
from proxy.web.operator_api.views import paused_view


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewApi:
    """Answers operators who want to see how the program is."""

    context: WebContext
    monitor: StoreMonitor

    async def status(self, request: web.Request) -> web.Response:
        """Return counts, backlog, pauses, and the worker processes that are down."""
        context, monitor = self.context, self.monitor
        operator = authorize(context, request, "read")
        open_counts = await context.store.open_counts()
        tree = {
            "operator": operator,
            "requests": {state: monitor.counts.get(state, 0) for state in State},
            "backlog": monitor.waiting,
            "open": [
                {"instance": instance, "system": system, "requests": count}
                for (instance, system), count in sorted(open_counts.items())
            ],
            "destinations": sorted(context.destinations),
            "paused": paused_view(monitor.paused),
            "down": [
                {"worker": name, "reason": reason} for name, reason in context.workers.down.items()
            ],
        }
        return private_response(Overview.model_validate(tree).json_bytes())

    async def alarms(self, request: web.Request) -> web.Response:
        """Return the last alarm of each kind and destination."""
        authorize(self.context, request, "read")
        tree = {"alarms": await self.context.alarm_board.read()}
        return private_response(AlarmList.model_validate(tree).json_bytes())
