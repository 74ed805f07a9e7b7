/** What states, causes and actions are called, in the words of the pages. */

/** Each state with what it means, in the order of work; those aside come last. */
export const STATES = {
  received: "Accepted; its ticket is not opened yet.",
  opening: "Its ticket is being opened, or looked for.",
  pending: "Its ticket is open, and waits for a decision.",
  decided: "Decided; witboost is being told.",
  fulfilling: "Approved; the access is awaited.",
  done: "Finished: witboost has the final status.",
  held: "Set aside: a person must look.",
  dead: "Given up: a person must act.",
};

export const ASIDE = "held,dead";
export const OPEN = "received,opening,pending,decided,fulfilling,held,dead";

/** Why a destination is not used. */
export const CAUSES = {
  misconfigured: "It refuses us",
  unreachable: "It fails",
  rate_limited: "It asked for a pause",
  maintenance: "Maintenance",
};

/** What happened, by the name of the event in a history. */
export const EVENTS = {
  Admitted: "Accepted from witboost",
  Sending: "Opening the ticket",
  NotSent: "No ticket was made",
  Opened: "Ticket is known",
  Read: "Ticket read",
  Missing: "Ticket not found",
  Announced: "witboost heard of the ticket",
  Postponed: "Did not work; it is tried again",
  Decided: "Decided",
  FulfilmentAwaited: "Waiting for the access",
  Fulfilled: "Fulfilment is known",
  CallingBack: "Calling witboost back",
  Uncalled: "Callback had no effect",
  CalledBack: "witboost has the status",
  Told: "Ticket was told how it ended",
  Held: "Set aside",
  Died: "Given up",
  Retried: "Sent back to work",
  Refreshed: "Looked at now",
  Rerouted: "Route chosen again",
  Restored: "Restored from the audit",
  Doubted: "The store was restarted or replaced: looked for again",
};

/** What an operator may do to a request: the button, what it means, and how grave it is. */
export const ACTIONS = {
  release: {
    name: "Release",
    means: "Accepts the approval that a guard holds back: the ticket is read again, and must still "
      + "say so. Where access is awaited, says that it is there: witboost gets OK.",
    done: "was released",
  },
  retry: {
    name: "Retry",
    means: "Sends the request back to where it was set aside. It is tried again at once.",
    done: "was sent back to work",
  },
  attach: {
    name: "Attach ticket",
    means: "Tells the request which ticket is its own. That ticket then decides it.",
    done: "has its ticket",
  },
  refresh: {
    name: "Look now",
    means: "Goes on with the request now, whenever it was due: reads its ticket, or calls back.",
    done: "is looked at now",
  },
  reroute: {
    name: "Reroute",
    means: "Chooses the route again, under the settings of now.",
    done: "was rerouted",
  },
  reject: {
    name: "Reject",
    means: "Decides without the ticket: no. The ticket is withdrawn or told. Where access is "
      + "awaited, says that it will not be there. witboost gets KO.",
    done: "was rejected",
    grave: true,
  },
  cancel: {
    name: "Cancel request",
    means: "Ends the request as not wanted any more. The ticket is withdrawn or told, and witboost "
      + "gets KO.",
    done: "was cancelled",
    grave: true,
  },
};

const ROLES = ["read", "operate", "admin"];

/** Whether a role includes another one. */
export function may(operator, role) {
  return ROLES.indexOf(operator.role) >= ROLES.indexOf(role);
}

/** Return a count with its noun. */
export function counted(count, noun = "request") {
  return `${count.toLocaleString()} ${noun}${count === 1 ? "" : "s"}`;
}
