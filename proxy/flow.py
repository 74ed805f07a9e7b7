"""The story of an approval request, from top to bottom.

    admit -> open the ticket -> read the ticket -> decide -> (await fulfilment) -> call back

A hook call is stored and acknowledged. After that, any worker that has claimed the record takes
the next step. A step stores its intent, acts, and stores the result. A worker may die between any
two of these: the next one continues from what the record says.

Every step returns the next step, or RELEASED when it has given the record back to the store until
it is due again. `Step.acquire` reserves a call to another system; if it returns False, the record
was already released until that system is available.
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
    """The steps of a request; the actions of operators are in `engine.operator_actions`."""

    def __init__(
        self, *, context: StepContext, routes: Routes, instances: Mapping[str, Receiver]
    ) -> None:
        self._context = context
        self._routes = routes
        self._instances = {**instances, TRIAL: NullReceiver()}
        self._timers = {state: context.metrics.step_seconds.labels(state) for state in State}

    # -- in the hook call: store, then acknowledge; nothing slow -------------------------------

    async def admit(self, call: HookCall, *, instance: str, client: str) -> Admitted:
        """Store a hook call under the route that applies to it; durable when this returns.

        Raises:
            StoreUnavailableError: nothing may be acknowledged.
        """
        digest, route = self._routes.choose(
            lambda: approval_request("", call.body, call.request_id)
        )
        return await self._context.store.admit(
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
        """Read the tickets that an event names soon; drop an event about an unknown ticket.

        Dropping loses nothing: a new ticket is read one second after its key is stored.
        """
        policy = self._context.policy
        for correlation_id in await self._context.store.find(system, hint.refs):
            await self._context.store.hint(
                correlation_id,
                interval=policy.hint_interval,
                burst=policy.hint_burst,
                by=system,
            )

    # -- in the worker -------------------------------------------------------------------------

    async def attend(self, entry: StoredRequest, lease: Lease) -> None:
        """Take the steps of a claimed request until it has to wait."""
        try:
            route, system = await self._routes.for_record(entry.record)
            with self._context.pauses.permit() as permit:
                claimed = Step(entry, entry, lease, route, system, self._context, permit)
                step: Step | Released = creating.suspect_lost_create(claimed)
                while isinstance(step, Step):
                    with self._timers[step.record.state].time():
                        step = await self._advance(step)
        except StaleError:
            # The fence refused a late write. Another writer changed the record and made it due.
            _log.info("%s was taken over", entry.record.id)

    async def _advance(self, step: Step) -> Step | Released:
        """Take the step that the record's state asks for."""
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
                return await self._retain(step)

    # -- one ticket ----------------------------------------------------------------------------

    async def _create(self, step: Step) -> Step | Released:
        """Store the intent, send the create, store the ticket."""
        system = step.system
        if not await step.acquire(system.name):
            return RELEASED
        step = await step.commit(CreateStarted(at=step.lease.latest_now()))
        if step.lease.remaining() < system.deadline:
            # The writes took so long that the lease could end before the create is answered.
            late = "The lease was too short to send the create"
            return await step.release(
                CreateNotSent(at=step.now, code="late", reason=late), step.now
            )
        try:
            ticket = await step.call(system.open(step.visible_request), "create", system.name)
        except (PermanentError, TemporaryError) as error:
            if error.maybe_sent:
                return await creating.await_visibility(step, error)
            if isinstance(error, PermanentError):
                return await creating.on_create_refused(step, error)
            return await step.handle_failure(
                error,
                system.name,
                kind=CreateNotSent,
                give_up_after=self._context.policy.create_for,
            )
        except ConfigurationError as error:
            return await step.handle_failure(error, system.name, kind=CreateNotSent)
        return await creating.adopt_ticket(step, ticket, how="created")

    # -- one decision --------------------------------------------------------------------------

    async def _read_ticket(self, step: Step) -> Step | Released:
        """Read the ticket: the ticket system is the only source of a decision."""
        if not await step.acquire(step.system.name):
            return RELEASED
        try:
            ticket = await step.fetch()
        except NotFoundError as error:
            return await deciding.ticket_missing(step, error)
        except ProxyError as error:
            return await step.handle_failure(error, step.system.name)
        if violations := deciding.guard_violations(step, ticket):
            return await deciding.hold_approval(step, violations)
        if decided := deciding.accept_outcome(step, ticket):
            return step.with_event(decided)
        if step.route.announce and not step.record.announced:
            step = await self._announce(step, ticket)
        return await deciding.read_again_later(step, ticket)

    async def _announce(self, step: Step, ticket: Ticket) -> Step:
        """Send witboost the link to the open ticket; tried once, because it changes nothing."""
        witboost, note = self._instances[step.record.instance], ""
        if not await step.context.pauses.may_call(witboost.name):
            return step
        try:
            url, body = respond_to(step.entry.payload), announcement(step.record, ticket)
            await step.call(witboost.call_back(url, body), "announcement", witboost.name)
        except ProxyError as error:
            note = str(error)
        return step.with_event(Announced(at=step.now, note=note))

    async def _approved(self, step: Step) -> Step | Released:
        """Call back, or first await the fulfilment where the route says so.

        Approved is not granted: the ticket system may give the access only later.
        """
        if step.route.callback_on != "fulfilment":
            return await self._call_back(step)
        deadline = step.now + step.route.fulfilment_deadline
        return step.with_event(FulfilmentAwaited(at=step.now, by=deadline))

    async def _await_fulfilment(self, step: Step) -> Step | Released:
        """Read the ticket until it says that the access was given, or never will be."""
        if not await step.acquire(step.system.name):
            return RELEASED
        try:
            ticket = await step.fetch()
        except ProxyError as error:
            return await deciding.on_fulfilment_unreadable(step, error)
        if ticket.fulfilment in {Fulfilment.FULFILLED, Fulfilment.FAILED}:
            status = ticket.native_status
            return step.with_event(
                Fulfilled(at=step.now, fulfilment=ticket.fulfilment, native_status=status)
            )
        step = deciding.record_reversal(step, ticket)
        if step.now >= step.record.fulfil_by:
            return await deciding.on_fulfilment_deadline(step)
        return await deciding.read_again_later(step, ticket)

    # -- one final status ----------------------------------------------------------------------

    async def _call_back(self, step: Step) -> Step | Released:
        """Send witboost the final status: every attempt has the same body, stored before."""
        record = step.record
        witboost = self._instances[record.instance]
        if not await step.acquire(witboost.name):
            return RELEASED
        sent_before = record.callbacks_sent
        body = step.entry.details.callback or callback_body(record, step.entry.details).decode()
        step = await step.commit(CallbackStarted(at=step.now, body=body), quiet=True)
        try:
            call = witboost.call_back(respond_to(step.entry.payload), body.encode())
            await step.call(call, "callback", witboost.name)
        except ConflictError as error:
            if not sent_before:
                return await step.hold("callback_conflict", str(error))
            return await self._done(step, "witboost says that an earlier attempt arrived")
        except ProxyError as error:
            return await self._callback_failed(step, error, witboost)
        return await self._done(step)

    async def _done(self, step: Step, note: str = "") -> Step | Released:
        """Store that witboost has the final status; the ticket may still need a notice."""
        write_back = step.route.write_back or step.record.trial
        step = step.with_event(CallbackAccepted(at=step.now, note=note, write_back=write_back))
        wait = 0 if step.record.ticket_notice_due else self._context.policy.retention
        return await step.release(None, step.now + wait)

    async def _callback_failed(
        self, step: Step, error: ProxyError, witboost: Receiver
    ) -> Step | Released:
        """Retry the callback: for days after network and server errors, for an hour if refused.

        A refusal may follow an outage, so its hour begins with the first refusal.
        """
        policy = self._context.policy
        code, give_up_after, give_up_code_after = "unreachable", policy.callback_for, None
        if isinstance(error, PermanentError):
            code, give_up_code_after = "callback_refused", policy.refused_callback_for
            give_up_after = max(give_up_after, give_up_code_after)
            error = TemporaryError(str(error), maybe_sent=error.maybe_sent)
        maybe_arrived = isinstance(error, TemporaryError) and error.maybe_sent
        return await step.handle_failure(
            error,
            witboost.name,
            kind=Postponed if maybe_arrived else CallbackNotSent,
            code=code,
            give_up_after=give_up_after,
            give_up_code_after=give_up_code_after,
        )

    # -- after the end -------------------------------------------------------------------------

    async def _retain(self, step: Step) -> Step | Released:
        """Keep a held, dead or finished request until its retention ends."""
        record = step.record
        if not record.finished_at:
            return await step.release(None, None)
        if record.ticket_notice_due and record.state is State.DONE:
            return await closing.notify_ticket(step)
        if step.now < record.finished_at + self._context.policy.retention:
            return await closing.recheck_finished(step)
        await self._context.store.expire(record)
        return RELEASED
