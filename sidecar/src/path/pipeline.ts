import type { Field, Stream } from '../http2/index.ts';
import type { Policy } from '../policy/index.ts';
import { UNLIMITED } from '../quota/index.ts';
import { type Accepted, accept } from './1-accept.ts';
import { identify } from './2-identify.ts';
import { type Authenticated, authenticate } from './3-authenticate.ts';
import { authorise, type Permitted, refusedByToken } from './4-authorise.ts';
import type { Admitted, Placed } from './5-admit.ts';
import { type Routed, routeEgress, routeInbound, type Target } from './6-route.ts';
import { Forwarding } from './7-forward.ts';
import type { Outcome } from './8-observe.ts';
import { Call } from './call.ts';
import type { ConnectionPeer } from './connection-peer.ts';
import type { Answer } from './forward-owner.ts';
import { GrpcStatus } from './grpc-status.ts';
import { laterValues } from './later-values.ts';
import { chainFilters, isRefusal, MessageCheck, type MessageFilter } from './message-filter.ts';
import { readMessage } from './message-gate.ts';
import { Passage, type PassageOwner } from './passage.ts';
import type { PipelineParts } from './pipeline-parts.ts';
import { type CallFilters, protectCall, UNPROTECTED } from './protect-call.ts';
import { hold, otherModel, reserve, UsageFilter } from './quota-call.ts';
import type { Refusal } from './refusal.ts';
import { httpRefusalHead } from './refusal-fields.ts';
import { statusOf } from './refusal-status.ts';
import { RequestBuffer } from './request-buffer.ts';
import { sendRefusal } from './send-refusal.ts';

/**
 * A call's way, stage by stage:
 * accept → identify → authenticate → authorise → admit → route → forward, and observe at its end.
 *
 * Each stage gives the call back with one more fact proven, or a refusal. The way has four legs, because three things can
 * take time: a token that has to be verified, a first message that policy has to read, and a limit that replicas share.
 */
export class Pipeline implements PassageOwner {
  readonly #parts: PipelineParts;
  /** In no order; each knows its place. A Set under such churn would keep garbage alive, see StreamTable. */
  readonly #active: Passage[] = [];

  constructor(parts: PipelineParts) {
    this.#parts = parts;
  }

  /** Calls in progress at this moment. */
  active(): readonly Passage[] {
    return this.#active.slice();
  }

  /** A request begins on a connection. */
  begin(stream: Stream): Passage {
    const call = new Call(this.#parts.direction, stream, this.#parts.clock());
    call.identity = (stream.connection.context as ConnectionPeer).spiffeId;
    const passage = new Passage(call, new RequestBuffer(this.#parts.held), this);
    passage.activePlace = this.#active.length;
    this.#active.push(passage);
    return passage;
  }

  /** First leg: who calls what. */
  arrive(passage: Passage, fields: readonly Field[]): void {
    if (passage.over) return;
    // As `guard` does, without a function made for every call.
    try {
      const refusal = this.#arrive(passage, fields);
      if (refusal !== null) this.refuse(passage, refusal);
    } catch (error) {
      this.#bug(passage, error);
    }
  }

  #arrive(passage: Passage, fields: readonly Field[]): Refusal | null {
    const { observer, deadlines, tokens } = this.#parts;
    const accepted = accept(passage.call, fields, this.#parts);
    observer.begin(passage.call);
    if (isRefusal(accepted)) return accepted;
    deadlines.add(passage);
    expectMessages(passage, accepted);

    const identified = identify(accepted, passage.stream.connection.context as ConnectionPeer);
    if (isRefusal(identified)) return identified;

    const unrecordable = observer.unavailable();
    if (unrecordable !== null) return unrecordable;

    const policy = this.#parts.policy();
    const authenticated = authenticate(identified, policy, tokens);
    if (!(authenticated instanceof Promise)) return this.#decide(passage, authenticated);
    this.#resume(passage, authenticated, (settled) => this.#decide(passage, settled));
    return null;
  }

  /** Goes on with a call that had to wait. */
  #resume<T>(passage: Passage, waited: Promise<T>, leg: (settled: T) => Refusal | null): void {
    waited.then(
      (settled) => {
        passage.call.nowMs = this.#parts.clock();
        this.#guard(passage, () => leg(settled));
      },
      (error: unknown) => this.#bug(passage, error),
    );
  }

  /** Second leg: may they. Where policy needs to know the model, it waits for the first message. */
  #decide(passage: Passage, authenticated: Authenticated | Refusal): Refusal | null {
    const policy = this.#parts.policy();
    if (isRefusal(authenticated)) {
      if (policy !== null) this.#decidedByToken(passage.call, authenticated, policy);
      return authenticated;
    }
    const reads = policy !== null && authenticated.peer.rulesUnder(policy).needsRequest(authenticated.method);
    if (!reads && this.#parts.admission.asksPriority(authenticated)) {
      passage.awaitFirstMessage();
      return null;
    }
    if (!reads) return this.#dispatch(passage, this.#authorise(authenticated, policy));
    const { deadlines, limits } = this.#parts;
    deadlines.remove(passage);
    passage.firstMessageByMs = passage.call.nowMs + limits.firstMessageMsMax;
    deadlines.add(passage);
    passage.awaitFirstMessage();
    return null;
  }

  firstMessage(passage: Passage, framed: Buffer): void {
    this.#guard(passage, () => {
      const { deadlines, clock } = this.#parts;
      passage.call.nowMs = clock();
      const isForPolicy = passage.firstMessageByMs < Number.POSITIVE_INFINITY;
      deadlines.remove(passage);
      passage.firstMessageByMs = Number.POSITIVE_INFINITY;
      deadlines.add(passage);
      const call = passage.call as Authenticated;
      const values = readMessage(framed, call.method, call.encoding);
      const policy = this.#parts.policy();
      if (!isRefusal(values)) call.requestValues = values;
      // A priority that can't be read is no reason to refuse, nor is what policy in shadow alone wants to read.
      else if (isForPolicy && policy && call.peer.rulesUnder(policy).refusesUnreadable(call.method))
        return values;
      return this.#dispatch(passage, this.#authorise(call, policy));
    });
  }

  /** A later message that asks for something else is decided on again; what it leaves out goes with those before. */
  #reauthorise(call: Authenticated, framed: Buffer): Refusal | null {
    const values = readMessage(framed, call.method, call.encoding);
    if (isRefusal(values)) return values;
    const next = laterValues(call.requestValues, values);
    if (next === null) return null;
    const miscounted = otherModel(call, next, this.#parts.policy());
    if (miscounted !== null) return miscounted;
    const unrecordable = this.#parts.observer.unavailable();
    if (unrecordable !== null) return unrecordable;
    this.#parts.observer.decidedAgain(call);
    call.requestValues = next;
    call.nowMs = this.#parts.clock();
    const permitted = this.#authorise(call, this.#parts.policy());
    return isRefusal(permitted) ? permitted : null;
  }

  /** Third leg: is there room. Limits that are shared have to be asked for elsewhere. */
  #dispatch(passage: Passage, permitted: Permitted | Refusal): Refusal | null {
    if (isRefusal(permitted)) return permitted;
    const placed = this.#parts.admission.admit(permitted);
    if (isRefusal(placed)) return placed;
    const quota = this.#reserve(passage, placed);
    if (!(quota instanceof Promise)) return this.#forward(passage, hold(placed, quota));
    void quota.then(
      (settled) => {
        // The caller may have left meanwhile.
        if (passage.over && !isRefusal(settled)) settled.release(false);
        placed.nowMs = this.#parts.clock();
        this.#guard(passage, () => this.#forward(passage, hold(placed, settled)));
      },
      (error: unknown) => this.#bug(passage, error),
    );
    return null;
  }

  #reserve(passage: Passage, placed: Placed): ReturnType<typeof reserve> {
    const { quotas } = this.#parts;
    const policy = this.#parts.policy();
    if (quotas === null || policy === null) return UNLIMITED;
    if (placed.peer.rulesUnder(policy).limits(placed.method).length === 0) return UNLIMITED;
    return reserve(placed, policy, quotas, (shortage) => this.refuse(passage, shortage));
  }

  /** Fourth leg: on its way. */
  #forward(passage: Passage, admitted: Admitted | Refusal): Refusal | null {
    if (isRefusal(admitted)) return admitted;
    admitted.meter = this.#parts.observer.meterOf(admitted);
    const { request, response } = this.#filtersOf(admitted);
    if (request !== null) {
      const head = request.fields(admitted.fields);
      if (isRefusal(head)) return head;
      admitted.fields = head;
      passage.filterRequest(request, this.#parts.held);
      if (passage.over) return null;
    }
    const routed = this.#route(admitted);
    if (isRefusal(routed)) return routed;
    passage.forwardTo(
      new Forwarding(routed, passage, {
        request: passage.request,
        requestEnded: passage.requestEnded,
        traceparent: this.#parts.observer.traceparentFor(routed),
        clock: this.#parts.clock,
        limits: this.#parts.limits,
        backlog: this.#parts.backlog,
        filter: response,
        held: this.#parts.held,
      }),
    );
    return null;
  }

  /** What looks into the call's messages, where something has to: checks and counts first, what changes them last. */
  #filtersOf(call: Admitted): CallFilters {
    const policy = this.#parts.policy();
    const protection = policy === null ? UNPROTECTED : protectCall(call, policy, this.#parts);
    const request = this.#requestCheckOf(call);
    const response = this.#usageFilterOf(call);
    if (request === null && response === null) return protection;
    return {
      request: chainFilters(request, protection.request),
      response: chainFilters(response, protection.response),
    };
  }

  #requestCheckOf(call: Admitted): MessageFilter | null {
    const { method, requestValues } = call;
    const sendsMany = method.kind === 'client-streaming' || method.kind === 'bidi';
    if (requestValues === null || !sendsMany) return null;
    return new MessageCheck((framed) => this.#reauthorise(call, framed));
  }

  #usageFilterOf(call: Admitted): MessageFilter | null {
    if (call.quota.readsUsage) return new UsageFilter(call, call.quota);
    return call.meter !== null && this.#parts.observer.recordsUsage(call)
      ? new UsageFilter(call, null)
      : null;
  }

  /** A token that is refused decides the call before any rule does. */
  #decidedByToken(call: Call, refusal: Refusal, policy: Policy): void {
    const { reason } = statusOf(call, refusal);
    call.decision = refusedByToken(reason, policy.version);
    call.decidedAtMs = call.nowMs;
    this.#parts.observer.decided(call);
  }

  #authorise(call: Authenticated, policy: Policy | null): Permitted | Refusal {
    call.decidedAtMs = call.nowMs;
    const permitted = authorise(call, policy, call.decidedAtMs);
    if (policy !== null) this.#parts.observer.decided(call);
    return permitted;
  }

  readonly #onBreakerChange = (call: Call, change: Record<'from' | 'to' | 'endpoint', string>): void =>
    this.#parts.observer.event(call, 'breakerStateChanged', change);

  #route(call: Admitted): Routed | Refusal {
    const { app, upstreams } = this.#parts;
    return app === null ? routeEgress(call, upstreams, this.#onBreakerChange) : routeInbound(call, app);
  }

  /** The upstream has answered in full. */
  answered(passage: Passage, status: GrpcStatus, answer: Answer): void {
    this.#answer(passage, { status, refusal: null }, answer);
  }

  /** Another try is wanted. */
  reroute(passage: Passage, reason: string): Target | Refusal {
    const { endpoint, breakerState } = passage.call;
    const routed = this.#route(passage.call as Admitted);
    if (isRefusal(routed)) return routed;
    this.#parts.observer.triedInVain(passage.call, reason, { endpoint, breakerState });
    return routed.target;
  }

  triedAgain(passage: Passage): string | null {
    return this.#parts.observer.triedAgain(passage.call);
  }

  refuse(passage: Passage, refusal: Refusal): void {
    if (passage.over) return;
    const status = statusOf(passage.call, refusal);
    passage.forwarding?.cancel();
    const ending = { status: status.code, refusal: status };
    if (refusal.kind === 'too-many-left') {
      this.#conclude(passage, outcomeOf(passage, ending));
      passage.stream.refuse();
      return;
    }
    this.#answer(passage, ending, {
      sendStatus: () =>
        refusal.kind === 'not-grpc'
          ? passage.stream.sendHeaders(httpRefusalHead(refusal.httpStatus), true)
          : sendRefusal(passage, status),
    });
  }

  /** Ends the call with a status, at once or, where policy says so, when its record is on disk. */
  #answer(passage: Passage, ending: Ending, answer: Answer): void {
    const outcome = outcomeOf(passage, ending);
    const recorded = this.#parts.observer.recordBeforeAnswer(passage.call, outcome);
    if (recorded === null) {
      answer.sendStatus();
      this.#conclude(passage, outcome);
      return;
    }
    this.#parts.deadlines.remove(passage);
    passage.finish();
    recorded
      .then((isOnDisk) => {
        if (isOnDisk) {
          answer.sendStatus();
          this.#conclude(passage, outcome);
        } else {
          const status = statusOf(passage.call, { kind: 'audit-unavailable' });
          sendRefusal(passage, status);
          this.#conclude(passage, { ...outcome, status: status.code, refusal: status });
        }
      })
      .catch(this.#parts.onBug);
  }

  abandoned(passage: Passage): void {
    passage.forwarding?.cancel();
    this.#conclude(passage, outcomeOf(passage, { status: GrpcStatus.CANCELLED, refusal: null }));
  }

  expired(passage: Passage): void {
    const { clock, limits } = this.#parts;
    passage.forwarding?.expire();
    const early = passage.call.deadlineAtMs > clock();
    this.refuse(
      passage,
      early ? { kind: 'first-message-late', limitMs: limits.firstMessageMsMax } : { kind: 'deadline' },
    );
  }

  /** The one end of every call: gives back what it took, and observes. */
  #conclude(passage: Passage, outcome: Outcome): void {
    const { call } = passage;
    this.#leave(passage);
    try {
      this.#parts.observer.end(call, outcome);
    } finally {
      this.#parts.deadlines.remove(passage);
      call.quota?.release(outcome.responseMessages > 0);
      call.admission?.release();
      call.lane?.leave();
      passage.finish();
    }
  }

  #leave(passage: Passage): void {
    const place = passage.activePlace;
    if (place < 0) return;
    const last = this.#active.pop() as Passage;
    if (last !== passage) {
      this.#active[place] = last;
      last.activePlace = place;
    }
    passage.activePlace = -1;
  }

  /** Runs stages; what they throw is a bug, and the call ends with INTERNAL and nothing of it on the wire. */
  #guard(passage: Passage, stages: () => Refusal | null): void {
    if (passage.over) return;
    try {
      const refusal = stages();
      if (refusal !== null) this.refuse(passage, refusal);
    } catch (error) {
      this.#bug(passage, error);
    }
  }

  #bug(passage: Passage, error: unknown): void {
    this.#parts.onBug(error);
    this.refuse(passage, { kind: 'bug' });
  }
}

function expectMessages(passage: Passage, { method }: Accepted): void {
  const single = method.kind === 'unary' || method.kind === 'server-streaming';
  passage.expectMessages(method.requestBytesMax, single ? 1 : Number.POSITIVE_INFINITY);
}

type Ending = Pick<Outcome, 'status' | 'refusal'>;

function outcomeOf({ requestMessages, forwarding }: Passage, { status, refusal }: Ending): Outcome {
  return { status, refusal, requestMessages, responseMessages: forwarding?.responseMessages ?? 0 };
}
