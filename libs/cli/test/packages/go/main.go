// A project that only depends on the module: streams a generation, is refused, and prints what came of it as JSON.
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
	"google.golang.org/grpc/status"
)

type outcome struct {
	Tokens  int32  `json:"tokens,omitempty"`
	Code    string `json:"code,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

func main() {
	address := os.Args[1]
	identity := gatehouse.Identity{CertificateFile: os.Args[2], KeyFile: os.Args[3], BundleFile: os.Args[4]}
	const inference, model = "spiffe://gatehouse.local/ns/local/sa/inference", "smollm2-135m-instruct"
	said, err := json.Marshal(map[string]outcome{
		"network":      describe(generate(address, identity, inference, model)),
		"unknownModel": describe(generate(address, identity, inference, "no-such-model")),
		"stranger":     describe(generate(address, identity, inference+"-of-others", model)),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(said))
}

func generate(address string, identity gatehouse.Identity, serverID, model string) (int32, error) {
	credentials := grpc.WithTransportCredentials(gatehouse.MTLS(identity, serverID))
	connection, err := grpc.NewClient(address, append(gatehouse.DialOptions(), credentials)...)
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
