package main

import (
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
)

// etcdCommand is a single-member etcd over the embed package, with the three
// flags of upstream's that a single member on loopback needs.
func etcdCommand() *cobra.Command {
	var dataDir, clientURL, peerURL string
	var unsafeNoFsync bool
	cmd := &cobra.Command{
		Use:          "etcd",
		Short:        "a single-member etcd",
		SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error {
			client, err := url.Parse(clientURL)
			if err != nil {
				return fmt.Errorf("--listen-client-urls: %w", err)
			}
			peer, err := url.Parse(peerURL)
			if err != nil {
				return fmt.Errorf("--listen-peer-urls: %w", err)
			}
			cfg := embed.NewConfig()
			cfg.Dir = dataDir
			cfg.LogLevel = "warn"
			cfg.UnsafeNoFsync = unsafeNoFsync
			cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
			cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
			cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
			e, err := embed.StartEtcd(cfg)
			if err != nil {
				return fmt.Errorf("starting etcd: %w", err)
			}
			defer e.Close()
			stop := make(chan os.Signal, 1)
			signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
			select {
			case err := <-e.Err():
				return err
			case <-stop:
				return nil
			}
		},
	}
	f := cmd.Flags()
	f.StringVar(&dataDir, "data-dir", "", "directory of the database")
	f.StringVar(&clientURL, "listen-client-urls", "http://127.0.0.1:2379", "the one URL to serve clients on")
	f.StringVar(&peerURL, "listen-peer-urls", "http://127.0.0.1:2380", "the one URL to serve peers on")
	f.BoolVar(&unsafeNoFsync, "unsafe-no-fsync", false, "never fsync: the state is thrown away anyway")
	return cmd
}
