package main

import (
	"context"
	"errors"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
)

// calls serves gRPC's own health service, with its name in the header x-backend of every answer.
type calls struct{ *grpc.Server }

func newGRPC(name string) calls {
	named := metadata.Pairs("x-backend", name)
	unary := func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		if err := grpc.SetHeader(ctx, named); err != nil {
			return nil, err
		}
		return handle(ctx, request)
	}
	streaming := func(service any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		if err := stream.SetHeader(named); err != nil {
			return err
		}
		return handle(service, stream)
	}
	own := grpc.NewServer(grpc.UnaryInterceptor(unary), grpc.StreamInterceptor(streaming))
	grpc_health_v1.RegisterHealthServer(own, health.NewServer())
	return calls{own}
}

func (c calls) serve(listener net.Listener) error {
	if err := c.Serve(listener); !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// drain tells clients to go elsewhere and waits for their calls; a stream that does not end is broken off.
func (c calls) drain(patience context.Context) error {
	broken := context.AfterFunc(patience, c.Stop)
	defer broken()
	c.GracefulStop()
	return nil
}
