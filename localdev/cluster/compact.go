package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Compact has etcd forget everything but the latest revision of each key: who watches or
// lists from an older one is told that it is too old (410 Gone), as after a long absence.
// It is an error with a cluster of somebody else's.
func (c *Cluster) Compact(ctx context.Context) error {
	if c.etcd == "" {
		return errors.New("compacting etcd: it is not ours")
	}
	var at struct {
		Header struct {
			Revision string `json:"revision"`
		} `json:"header"`
	}
	// Any key will do: the answer's header has the revision.
	if err := c.askEtcd(ctx, "/v3/kv/range", map[string]any{"key": "AA=="}, &at); err != nil {
		return fmt.Errorf("asking etcd for its revision: %w", err)
	}
	if err := c.askEtcd(ctx, "/v3/kv/compaction", map[string]any{"revision": at.Header.Revision, "physical": true}, nil); err != nil && !strings.Contains(err.Error(), "required revision has been compacted") { // nothing was written since
		return fmt.Errorf("compacting etcd at %s: %w", at.Header.Revision, err)
	}
	return nil
}

// askEtcd calls etcd's JSON gateway.
func (c *Cluster) askEtcd(ctx context.Context, path string, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, c.etcd+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	switch {
	case err != nil:
		return err
	case a.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s", a.Status, bytes.TrimSpace(text))
	case into == nil:
		return nil
	}
	return json.Unmarshal(text, into)
}
