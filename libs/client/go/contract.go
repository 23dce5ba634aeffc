// Package gatehouse makes calls of a Gatehouse mesh carry what the contract says of them. The stubs are in the packages below.
package gatehouse

import (
	"context"
	_ "embed"
	"encoding/json"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

const contractHeader = "gatehouse-contract"

//go:embed contract.json
var contractJSON []byte

var contract = readContract()

// ContractVersion is the version of the contract that the stubs are made from. A mesh of another one refuses their calls.
var ContractVersion = contract.Version

type contractFacts struct {
	Version string
	// Milliseconds by `/pkg.Service/Method`.
	Deadlines map[string]int64
}

func readContract() contractFacts {
	var facts contractFacts
	if err := json.Unmarshal(contractJSON, &facts); err != nil {
		panic(err)
	}
	return facts
}

// DialOptions let calls say which contract they are made from, and give those without a deadline the contract's.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(
			ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption,
		) error {
			ctx, cancel := contracted(ctx, method)
			defer cancel()
			return invoke(ctx, method, request, reply, conn, options...)
		}),
		grpc.WithChainStreamInterceptor(func(
			ctx context.Context, stream *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption,
		) (grpc.ClientStream, error) {
			ctx, cancel := contracted(ctx, method)
			opened, err := open(ctx, stream, conn, method, append(options, grpc.OnFinish(func(error) { cancel() }))...)
			if err != nil {
				cancel()
			}
			return opened, err
		}),
	}
}

func contracted(ctx context.Context, method string) (context.Context, context.CancelFunc) {
	deadlineMs, known := contract.Deadlines[method]
	if !known {
		return ctx, func() {}
	}
	ctx = metadata.AppendToOutgoingContext(ctx, contractHeader, ContractVersion)
	if _, has := ctx.Deadline(); has {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Duration(deadlineMs)*time.Millisecond)
}
