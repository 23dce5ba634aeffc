// A project that only depends on the module: streams a generation over the network and through a sidecar, is refused, and
// prints what came of it as JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	gatehouse "gatehouse.dev/client"
	inferencev1 "gatehouse.dev/client/gatehouse/inference/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

type outcome struct {
	Tokens  int32  `json:"tokens,omitempty"`
	Code    string `json:"code,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

func main() {
	address, sidecar := os.Args[1], os.Args[5]
	identity := gatehouse.Identity{CertificateFile: os.Args[2], KeyFile: os.Args[3], BundleFile: os.Args[4]}
	const inference, model = "spiffe://gatehouse.local/ns/local/sa/inference", "smollm2-135m-instruct"
	mtls := func(serverID string) grpc.DialOption {
		return grpc.WithTransportCredentials(gatehouse.MTLS(identity, serverID))
	}
	throughSidecar := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("inference"),
	}
	said, err := json.Marshal(map[string]outcome{
		"network":      describe(generate(address, model, mtls(inference))),
		"sidecar":      describe(generate(sidecar, model, throughSidecar...)),
		"unknownModel": describe(generate(address, "no-such-model", mtls(inference))),
		"stranger":     describe(generate(address, model, mtls(inference+"-of-others"))),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(said))
}

func generate(address, model string, options ...grpc.DialOption) (int32, error) {
	connection, err := grpc.NewClient(address, append(gatehouse.DialOptions(), options...)...)
	if err != nil {
		return 0, err
	}
	defer connection.Close()
	limit := int32(5)
	stream, err := inferencev1.NewInferenceServiceClient(connection).StreamGenerate(context.Background(), &inferencev1.GenerateRequest{
		Model: model, Input: &inferencev1.GenerateRequest_Prompt{Prompt: "Once upon a time"}, MaxTokens: &limit,
	})
	if err != nil {
		return 0, err
	}
	for tokens := int32(0); ; {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return tokens, nil
		}
		if err != nil {
			return tokens, err
		}
		tokens = max(tokens, answer.GetDelta().GetOutputTokens())
	}
}

func describe(tokens int32, err error) outcome {
	if err == nil {
		return outcome{Tokens: tokens}
	}
	said := status.Convert(err)
	found := outcome{Code: said.Code().String(), Message: said.Message()}
	for _, detail := range said.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			found.Reason = info.Reason
		}
	}
	return found
}
