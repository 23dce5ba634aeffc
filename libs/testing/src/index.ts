export {
  ECHO_OVERLAY_FILE,
  EchoClient,
  type EchoRequest,
  type EchoResponse,
  echoDescriptorSet,
} from './echo-contract.ts';
export { type EchoCounts, type EchoOptions, type EchoServer, startEchoServer } from './echo-server.ts';
