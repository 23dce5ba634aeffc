export { type CallContext, defineService, type Handler, type Implementation, type Service } from './edge.ts';
export {
  type EgressChannel,
  type EgressOptions,
  egressChannel,
  type OutgoingCall,
} from './egress-channel.ts';
export {
  fromServiceError,
  invalidArgument,
  RpcError,
  readErrorDetails,
} from './errors.ts';
export { type RunningServer, type ServerOptions, startService } from './server.ts';
