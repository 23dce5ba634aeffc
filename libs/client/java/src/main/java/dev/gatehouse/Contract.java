package dev.gatehouse;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** Makes calls of a Gatehouse mesh carry what the contract says of them. */
public final class Contract {
  /** The version of the contract that the stubs are made from. A mesh of another one refuses their calls. */
  public static final String VERSION = ContractFacts.VERSION;

  /** The deadline of a call that brings none, in milliseconds, by {@code pkg.Service/Method}. */
  private static final Map<String, Long> DEADLINES = ContractFacts.DEADLINES;

  private static final Metadata.Key<String> HEADER =
      Metadata.Key.of("gatehouse-contract", Metadata.ASCII_STRING_MARSHALLER);

  private Contract() {}

  /** Lets calls say which contract they are made from, and gives those without a deadline the contract's. */
  public static ClientInterceptor interceptor() {
    return new ClientInterceptor() {
      @Override
      public <Q, A> ClientCall<Q, A> interceptCall(MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
        Long deadlineMs = DEADLINES.get(method.getFullMethodName());
        if (deadlineMs == null) return next.newCall(method, options);
        CallOptions bounded = options.getDeadline() == null
            ? options.withDeadlineAfter(deadlineMs, TimeUnit.MILLISECONDS)
            : options;
        return new SimpleForwardingClientCall<>(next.newCall(method, bounded)) {
          @Override
          public void start(Listener<A> listener, Metadata headers) {
            headers.put(HEADER, VERSION);
            super.start(listener, headers);
          }
        };
      }
    };
  }
}
