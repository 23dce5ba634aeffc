export { CallFailure, toCallFailure } from './call-failure.ts';
export { type Connection, type ConnectOptions, connect, type StubClass } from './connect.ts';
export { CONTRACT_VERSION } from './contract.ts';
