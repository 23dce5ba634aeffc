import { readdirSync, readFileSync } from 'node:fs';

/** A process and its descendants (Linux). */
export function processTree(pid: number): number[] {
  const pids = [pid];
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const children = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8');
    for (const child of children.split(' ').filter(Boolean)) pids.push(...processTree(Number(child)));
  }
  return pids;
}

/** CPU time that all threads of these processes have run, user and system, in microseconds, exact to the nanosecond. */
export function cpuMicros(pids: readonly number[]): number {
  let nanoseconds = 0;
  for (const pid of pids) {
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      nanoseconds += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
    }
  }
  return nanoseconds / 1000;
}

/** Time that the machine's cores have been busy, in microseconds, to 10 ms. */
export function busyMicros(): number {
  const [, user, nice, system, , , irq, softirq, steal] = (
    readFileSync('/proc/stat', 'utf8').split('\n')[0] as string
  )
    .split(/\s+/)
    .map(Number) as [number, ...(readonly number[])];
  const ticks = [user, nice, system, irq, softirq, steal].reduce<number>((sum, each) => sum + (each ?? 0), 0);
  return ticks * 10_000;
}

/** Resident memory in megabytes, and how it is made up: file pages that others may share count once each here. */
export function residentMb(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const found = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return sum + Number(found?.[1] ?? 0) / 1024;
  }, 0);
}
