package main

import (
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
)

// etcdCommand is upstream's etcd, which reads its own flags and exits itself.
func etcdCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "etcd",
		Short:              "a distributed key-value store",
		DisableFlagParsing: true,
		Run: func(_ *cobra.Command, args []string) {
			etcdmain.Main(append([]string{os.Args[0]}, args...))
		},
	}
}
