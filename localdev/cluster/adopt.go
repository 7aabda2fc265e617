package cluster

import (
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Adopt returns a cluster that somebody else runs, by the path of a kubeconfig
// that the user named. Nothing is started, and Stop stops nothing. The path is
// required: falling back to an ambient one could reach a cluster that nobody
// meant.
func Adopt(path string) (*Cluster, error) {
	if path == "" {
		return nil, fmt.Errorf("adopting a cluster: no kubeconfig named")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("resolving the kubeconfig: %w", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	raw, err := clientcmd.Load(data)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	// Certificates named by relative path lie beside the kubeconfig.
	for _, c := range raw.Clusters {
		c.LocationOfOrigin = path
	}
	for _, u := range raw.AuthInfos {
		u.LocationOfOrigin = path
	}
	if err := clientcmd.ResolveLocalPaths(raw); err != nil {
		return nil, fmt.Errorf("resolving the kubeconfig's files: %w", err)
	}
	cfg, err := clientcmd.NewDefaultClientConfig(*raw, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	if err := rest.LoadTLSFiles(cfg); err != nil {
		return nil, fmt.Errorf("reading the kubeconfig's certificates: %w", err)
	}
	return &Cluster{
		Kubeconfig: path,
		Server:     cfg.Host,
		CA:         cfg.CAData,
		config:     cfg,
		keepDir:    true,
	}, nil
}
