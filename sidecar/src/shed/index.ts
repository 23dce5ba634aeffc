export type { Lane, Shed } from './lane.ts';
export { LoadShedder } from './load-shedder.ts';
export { priorityOf } from './priority.ts';
