"""The story of an approval request, from top to bottom.

    admit -> open the ticket -> read the ticket -> decide -> (await fulfilment) -> call back

A hook call is stored and answered. Everything after that happens here, one step at a time, by
whichever worker has claimed the record. A step records its intent, acts, and records the result:
a worker may die between any two of them, and the next one goes on from what the record says. Each
step ends by going on (it returns a step) or by giving the record back (it returns RELEASED).
"""

import logging
from collections.abc import Mapping
from typing import Final

from proxy.domain.events.base import Postponed
from proxy.domain.events.callback import CallbackAccepted, CallbackNotSent, CallbackStarted
from proxy.domain.events.notifications import Announced
from proxy.domain.events.ticket import CreateNotSent, CreateStarted, Fulfilled, FulfilmentAwaited
from proxy.domain.models import (
    TRIAL,
    Decision,
    Fulfilment,
    State,
    StoredRequest,
    Ticket,
    TicketHint,
)
from proxy.engine import closing, creating, deciding
from proxy.engine.context import StepContext
from proxy.engine.lease import Lease
from proxy.engine.routes import Routes
from proxy.engine.step import RELEASED, Released, Step
from proxy.errors import (
    ConfigurationError,
    ConflictError,
    NotFoundError,
    PermanentError,
    ProxyError,
    StaleError,
    TemporaryError,
)
from proxy.store.requests import Admission, Admitted
from proxy.witboost.callback import NullReceiver, Receiver, announcement, callback_body
from proxy.witboost.hook_call import HookCall, approval_request, respond_to

_log: Final = logging.getLogger(__name__)


class Flow:
    """Every step that a request takes by itself; what operators do is in `operations`."""

    def __init__(
        self, *, means: StepContext, routes: Routes, instances: Mapping[str, Receiver]
    ) -> None:
        self._means = means
        self._routes = routes
        self._instances = {**instances, TRIAL: NullReceiver()}
        self._timers = {state: means.metrics.step_seconds.labels(state) for state in State}

    # -- in the hook call: store, then answer; nothing slow ------------------------------------

    async def admit(self, call: HookCall, *, instance: str, client: str) -> Admitted:
        """Store a hook call under the route that it takes; durable when this returns.

        Raises:
            StoreUnavailable: nothing may be acknowledged.
        """
        digest, route = self._routes.choose(
            lambda: approval_request("", call.body, call.request_id)
        )
        return await self._means.store.admit(
            Admission(
                respond_to=call.respond_to,
                content=call.content,
                body=call.body,
                request_id=call.request_id,
                instance=instance,
                client=client,
                system=route.system,
                route=digest,
                decision_deadline=route.decision_deadline,
                reuse_after_final=self._instances[instance].reuse_after_final,
            )
        )

    async def hint(self, system: str, hint: TicketHint) -> None:
        """Read the tickets that an event names soon; an event for an unknown one is dropped.

        Nothing is lost by that: a fresh ticket is read a second after its key is stored anyway.
        """
        policy = self._means.policy
        for correlation_id in await self._means.store.find(system, hint.refs):
            await self._means.store.hint(
                correlation_id,
                interval=policy.hint_interval,
                burst=policy.hint_burst,
                by=system,
            )

    # -- in the worker -------------------------------------------------------------------------

    async def attend(self, entry: StoredRequest, lease: Lease) -> None:
        """Do for a claimed record whatever is due, until it can only wait."""
        try:
            route, system = await self._routes.for_record(entry.record)
            with self._means.pauses.permit() as place:
                claimed = Step(entry, entry, lease, route, system, self._means, place)
                step: Step | Released = creating.suspect_lost_create(claimed)
                while isinstance(step, Step):
                    with self._timers[step.record.state].time():
                        step = await self._next(step)
        except StaleError:
            # the fence refused a late write: whoever changed the record has made it due as well
            _log.info("%s was taken over", entry.record.id)

    async def _next(self, step: Step) -> Step | Released:
        record = step.record
        if not record.decision and not record.deadline_fired and step.now >= record.deadline_at:
            return await deciding.on_decision_deadline(step)
        match record.state:
            case State.RECEIVED | State.OPENING if step.route.decide:
                return await deciding.decide_at_once(step)
            case State.RECEIVED:
                return await self._create(step)
            case State.OPENING:
                return await creating.resolve_in_doubt(step, create=self._create)
            case State.PENDING:
                return await self._read_ticket(step)
            case State.DECIDED if record.decision is Decision.APPROVED:
                return await self._approved(step)
            case State.FULFILLING if record.fulfilment is Fulfilment.WAITING:
                return await self._await_fulfilment(step)
            case State.DECIDED | State.FULFILLING:
                return await self._call_back(step)
            case State.HELD | State.DEAD | State.DONE:
                return await self._rest(step)

    # -- one ticket ----------------------------------------------------------------------------

    async def _create(self, step: Step) -> Step | Released:
        """Store the intent, send the create, store the ticket."""
        system = step.system
        if not await step.acquire(system.name):
            return RELEASED
        step = await step.commit(CreateStarted(at=step.lease.latest_now()))
        if (
            step.lease.remaining() < system.deadline
        ):  # the writes took long: not ours to send any more
            reason = "The lease was too short to send the create"
            return await step.release(
                CreateNotSent(at=step.now, code="late", reason=reason), step.now
            )
        try:
            ticket = await step.call(system.open(step.visible_request), "create", system.name)
        except (PermanentError, TemporaryError) as error:
            if error.maybe_sent:
                return await creating.await_visibility(step, error)
            if isinstance(error, PermanentError):
                return await creating.refused(step, error)
            limit = self._means.policy.create_for
            return await step.handle_failure(
                error, system.name, kind=CreateNotSent, give_up_after=limit
            )
        except ConfigurationError as error:
            return await step.handle_failure(error, system.name, kind=CreateNotSent)
        return await creating.adopt_ticket(step, ticket, how="created")

    # -- one decision --------------------------------------------------------------------------

    async def _read_ticket(self, step: Step) -> Step | Released:
        """Ask the ticket system, which is the only source of a decision."""
        if not await step.acquire(step.system.name):
            return RELEASED
        try:
            ticket = await step.fetch()
        except NotFoundError as error:
            return await deciding.ticket_missing(step, error)
        except ProxyError as error:
            return await step.handle_failure(error, step.system.name)
        if objections := deciding.guard_violations(step, ticket):
            return await deciding.hold_approval(step, objections)
        if decided := deciding.accept_outcome(step, ticket):
            return step.with_event(decided)
        if step.route.announce and not step.record.announced:
            step = await self._announce(step, ticket)
        return await deciding.wait(step, ticket)

    async def _announce(self, step: Step, ticket: Ticket) -> Step:
        """Tell witboost where people see the open ticket: a courtesy, tried once it is in use."""
        witboost, note = self._instances[step.record.instance], ""
        if not await step.context.pauses.usable(witboost.name):
            return step
        try:
            call = witboost.call_back(
                respond_to(step.entry.payload), announcement(step.record, ticket)
            )
            await step.call(call, "announcement", witboost.name)
        except ProxyError as error:
            note = str(error)
        return step.with_event(Announced(at=step.now, note=note))

    async def _approved(self, step: Step) -> Step | Released:
        """Approved is not granted: where the route says so, wait until the access is there."""
        if step.route.callback_on != "fulfilment":
            return await self._call_back(step)
        by = step.now + step.route.fulfilment_deadline
        return step.with_event(FulfilmentAwaited(at=step.now, by=by))

    async def _await_fulfilment(self, step: Step) -> Step | Released:
        if not await step.acquire(step.system.name):
            return RELEASED
        try:
            ticket = await step.fetch()
        except ProxyError as error:
            return await deciding.fulfilment_unread(step, error)
        if ticket.fulfilment in {Fulfilment.FULFILLED, Fulfilment.FAILED}:
            status = ticket.native_status
            return step.with_event(
                Fulfilled(at=step.now, fulfilment=ticket.fulfilment, native_status=status)
            )
        step = deciding.record_reversal(step, ticket)
        if step.now >= step.record.fulfil_by:
            return await deciding.on_fulfilment_deadline(step)
        return await deciding.wait(step, ticket)

    # -- one final status ----------------------------------------------------------------------

    async def _call_back(self, step: Step) -> Step | Released:
        """Tell witboost: the same body on every attempt, its sending recorded before."""
        record = step.record
        witboost = self._instances[record.instance]
        if not await step.acquire(witboost.name):
            return RELEASED
        earlier = record.callbacks_sent
        body = step.entry.details.callback or callback_body(record, step.entry.details).decode()
        step = await step.commit(CallbackStarted(at=step.now, body=body), quiet=True)
        try:
            call = witboost.call_back(respond_to(step.entry.payload), body.encode())
            await step.call(call, "callback", witboost.name)
        except ConflictError as error:
            if not earlier:
                return await step.hold("callback_conflict", str(error))
            return await self._done(step, "witboost says that an earlier attempt arrived")
        except ProxyError as error:
            return await self._callback_failed(step, error, witboost)
        return await self._done(step)

    async def _done(self, step: Step, note: str = "") -> Step | Released:
        write_back = step.route.write_back or step.record.trial
        step = step.with_event(CallbackAccepted(at=step.now, note=note, write_back=write_back))
        keep = 0 if step.record.ticket_notice_due else self._means.policy.retention
        return await step.release(None, step.now + keep)

    async def _callback_failed(
        self, step: Step, error: ProxyError, witboost: Receiver
    ) -> Step | Released:
        """Network and server errors are tried for days; a plain refusal only for a deploy.

        That may follow on an outage, so its time begins with the first refusal.
        """
        policy, code, in_a_row = self._means.policy, "unreachable", None
        limit = policy.callback_for
        if isinstance(error, PermanentError):
            code, in_a_row = "callback_refused", policy.refused_callback_for
            limit = max(limit, in_a_row)
            error = TemporaryError(str(error), maybe_sent=error.maybe_sent)
        arrived = isinstance(error, TemporaryError) and error.maybe_sent
        return await step.handle_failure(
            error,
            witboost.name,
            kind=Postponed if arrived else CallbackNotSent,
            code=code,
            give_up_after=limit,
            in_a_row=in_a_row,
        )

    async def _rest(self, step: Step) -> Step | Released:
        """Held, dead or done: little to do until its retention ends."""
        record = step.record
        if not record.finished_at:
            return await step.release(None, None)
        if record.ticket_notice_due and record.state is State.DONE:
            return await closing.notify_ticket(step)
        ends = record.finished_at + self._means.policy.retention
        if step.now < ends:
            return await closing.recheck_finished(step)
        await self._means.store.expire(record)
        return RELEASED
