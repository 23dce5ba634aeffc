import type { Any } from '@gatehouse/contracts/any';
import { BadRequest, ErrorInfo, RetryInfo } from '@gatehouse/contracts/rpc-error-details';
import type { Status } from '@gatehouse/contracts/rpc-status';
import type { RpcError } from '@gatehouse/service-kit';

/** An error as a message inside a response, with the details that a refused text can have. */
export function toRpcStatus({ code, message, details }: RpcError): Status {
  const packed: Any[] = [];
  const pack = (name: string, value: Uint8Array) =>
    packed.push({ typeUrl: `type.googleapis.com/google.rpc.${name}`, value: Buffer.from(value) });
  const { errorInfo, badRequest, retryDelayMs } = details;
  if (errorInfo) {
    pack('ErrorInfo', ErrorInfo.encode({ metadata: {}, domain: 'gatehouse.dev', ...errorInfo }).finish());
  }
  if (badRequest) pack('BadRequest', BadRequest.encode({ fieldViolations: [...badRequest] }).finish());
  if (retryDelayMs !== undefined) {
    const seconds = BigInt(Math.floor(retryDelayMs / 1000));
    const nanos = Math.floor((retryDelayMs % 1000) * 1e6);
    pack('RetryInfo', RetryInfo.encode({ retryDelay: { seconds, nanos } }).finish());
  }
  return { code, message, details: packed };
}
