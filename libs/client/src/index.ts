export { CallFailure, toCallFailure } from './call-failure.ts';
export { connect, type ConnectOptions, type Connection, type StubClass } from './connect.ts';
