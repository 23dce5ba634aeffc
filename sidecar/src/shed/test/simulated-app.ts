import { Lane, type ShedLimits } from '../lane.ts';
import type { Priority } from '../priority.ts';
import { Agenda } from './agenda.ts';

/** Calls of one kind that come at a rate (Poisson). Times are milliseconds, drawn for every call. */
export type Traffic = {
  readonly priority: Priority;
  readonly perSecond: number;
  readonly deadlineMs: number;
  /** From a place at the app to the first message. */
  readonly firstMs: (nowMs: number) => number;
  /** From the first message to the end; the place stays taken. */
  readonly restMs: () => number;
  /** When the last one comes; default: at the end. */
  readonly untilMs?: number;
};

export type Simulation = {
  /** Calls that the app computes at once. */
  readonly places: number;
  readonly traffic: readonly Traffic[];
  readonly durationMs: number;
  /** Calls that come before it are not counted. */
  readonly warmUpMs: number;
  /** Null: nothing is shed. */
  readonly limits: ShedLimits | null;
  readonly random: () => number;
};

type Tally = {
  offered: number;
  shed: number;
  /** To the first message, of calls that had it before their deadline. */
  readonly tookMs: number[];
};

export type Simulated = { readonly lane: Lane; readonly tallies: Readonly<Record<Priority, Tally>> };

type Call = {
  readonly traffic: Traffic;
  readonly begunAtMs: number;
  readonly ahead: number;
  state: 'waiting' | 'answering' | 'over';
};

const CALLS_MAX = 10_000;

/** An app that computes some calls at once while the others wait in the order they came, behind one lane. */
export function simulate(run: Simulation): Simulated {
  const agenda = new Agenda();
  const limits = run.limits ?? {
    callsMin: CALLS_MAX,
    waitMsMax: 1,
    lowSharePercent: 100,
    normalSharePercent: 100,
  };
  const lane = new Lane(limits, CALLS_MAX, 0);
  const tallies = { low: tally(), normal: tally(), high: tally() };
  const queue: Call[] = [];
  let free = run.places;

  const finish = (call: Call): void => {
    call.state = 'over';
    lane.leave();
  };
  const serve = (): void => {
    while (free > 0) {
      const call = queue.shift();
      if (call === undefined) return;
      if (call.state === 'over') continue;
      free -= 1;
      agenda.after(call.traffic.firstMs(agenda.nowMs), () => answer(call));
    }
  };
  const answer = (call: Call): void => {
    const { traffic, begunAtMs, ahead } = call;
    // What was late for is noticed with the first message: until then it took a place for nothing.
    const isLate = call.state === 'over';
    if (!isLate) {
      call.state = 'answering';
      const tookMs = agenda.nowMs - begunAtMs;
      lane.measured(tookMs, begunAtMs, ahead);
      if (begunAtMs >= run.warmUpMs) tallies[traffic.priority].tookMs.push(tookMs);
    }
    agenda.after(isLate ? 0 : traffic.restMs(), () => {
      free += 1;
      if (!isLate) finish(call);
      serve();
    });
  };
  const expire = (call: Call): void => {
    if (call.state !== 'waiting') return;
    lane.measured(call.traffic.deadlineMs, call.begunAtMs, call.ahead);
    finish(call);
  };
  const arrive = (traffic: Traffic): void => {
    const { nowMs } = agenda;
    const counted = nowMs >= run.warmUpMs ? tallies[traffic.priority] : tally();
    counted.offered += 1;
    if (lane.enter({ priority: traffic.priority, remainingMs: traffic.deadlineMs, nowMs }) !== null) {
      counted.shed += 1;
      return;
    }
    const call: Call = { traffic, begunAtMs: nowMs, ahead: lane.inFlight, state: 'waiting' };
    queue.push(call);
    agenda.after(traffic.deadlineMs, () => expire(call));
    serve();
  };
  for (const traffic of run.traffic) {
    const next = (): void =>
      agenda.after((-Math.log(1 - run.random()) * 1000) / traffic.perSecond, () => {
        if (agenda.nowMs > (traffic.untilMs ?? run.durationMs)) return;
        arrive(traffic);
        next();
      });
    next();
  }
  agenda.runUntil(run.durationMs);
  return { lane, tallies };
}

function tally(): Tally {
  return { offered: 0, shed: 0, tookMs: [] };
}
