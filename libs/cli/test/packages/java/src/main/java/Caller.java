import com.google.rpc.ErrorInfo;
import dev.gatehouse.Contract;
import dev.gatehouse.Mtls;
import dev.gatehouse.inference.v1.GenerateRequest;
import dev.gatehouse.inference.v1.InferenceServiceGrpc;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.io.File;

/**
 * A project that only depends on the package: streams a generation over the network and through a sidecar, is refused, and
 * prints what came of it as JSON.
 */
public final class Caller {
  private static final String INFERENCE = "spiffe://gatehouse.local/ns/local/sa/inference";

  public static void main(String[] args) throws Exception {
    String model = "smollm2-135m-instruct";
    System.out.printf(
        "{\"network\": %s, \"sidecar\": %s, \"unknownModel\": %s, \"stranger\": %s}%n",
        generate(network(args, INFERENCE), model),
        generate(Grpc.newChannelBuilder(args[4], InsecureChannelCredentials.create()).overrideAuthority("inference"), model),
        generate(network(args, INFERENCE), "no-such-model"),
        generate(network(args, INFERENCE + "-of-others"), model));
  }

  private static ManagedChannelBuilder<?> network(String[] args, String serverId) throws Exception {
    var credentials = Mtls.of(new File(args[1]), new File(args[2]), new File(args[3]), serverId);
    return Grpc.newChannelBuilder(args[0], credentials);
  }

  private static String generate(ManagedChannelBuilder<?> builder, String model) throws Exception {
    ManagedChannel channel = builder.intercept(Contract.interceptor()).build();
    try {
      var request = GenerateRequest.newBuilder().setModel(model).setPrompt("Once upon a time").setMaxTokens(5);
      int tokens = 0;
      var answers = InferenceServiceGrpc.newBlockingStub(channel).streamGenerate(request.build());
      while (answers.hasNext()) tokens = Math.max(tokens, answers.next().getDelta().getOutputTokens());
      return "{\"tokens\": %d}".formatted(tokens);
    } catch (StatusRuntimeException e) {
      Status status = e.getStatus();
      String reason = "";
      for (var detail : StatusProto.fromThrowable(e).getDetailsList())
        if (detail.is(ErrorInfo.class)) reason = detail.unpack(ErrorInfo.class).getReason();
      String message = (status.getDescription() + causes(status)).replaceAll("[\"\\s]+", " ");
      return "{\"code\": \"%s\", \"reason\": \"%s\", \"message\": \"%s\"}".formatted(status.getCode(), reason, message);
    } finally {
      channel.shutdownNow();
    }
  }

  private static String causes(Status status) {
    String causes = "";
    for (Throwable at = status.getCause(); at != null; at = at.getCause()) causes += ": " + at.getMessage();
    return causes;
  }
}
