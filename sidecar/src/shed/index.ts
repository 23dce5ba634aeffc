export type { Lane, Shed, ShedLimits } from './lane.ts';
export { LoadShedder } from './load-shedder.ts';
export { type Priority, priorityOf } from './priority.ts';
