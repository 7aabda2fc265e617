package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// KeyFiles are the names of the files in a mounted Secret: id, key, and, for temporary
// keys, token.
var KeyFiles = [3]string{"TENCENTCLOUD_SECRETID", "TENCENTCLOUD_SECRETKEY", "TENCENTCLOUD_SESSIONTOKEN"}

// Mounted is a credential in files, which are read again for every call: whoever rotates
// the Secret need not restart anything.
type Mounted struct {
	dir string
	log *slog.Logger

	mu   sync.Mutex
	last [3]string
}

// NewMounted makes a credential of the files in dir, which must be there.
func NewMounted(dir string, log *slog.Logger) (*Mounted, error) {
	m := &Mounted{dir: dir, log: log}
	var err error
	if m.last, err = m.read(); err != nil {
		return nil, err
	}
	return m, nil
}

// read reads all files of one moment: the kubelet swaps what the link ..data leads to.
func (m *Mounted) read() (keys [3]string, err error) {
	dir := m.dir
	if at, err := filepath.EvalSymlinks(filepath.Join(dir, "..data")); err == nil {
		dir = at
	}
	for i, name := range KeyFiles {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) && i == 2 {
			continue
		}
		if err != nil {
			return keys, fmt.Errorf("reading the cloud's credential: %w", err)
		}
		if keys[i] = strings.TrimSpace(string(raw)); keys[i] == "" && i < 2 {
			return keys, fmt.Errorf("reading the cloud's credential: %s is empty", name)
		}
	}
	return keys, nil
}

// GetCredential gives id, key and token; the last ones while they can't be read.
func (m *Mounted) GetCredential() (id, key, token string) {
	keys, err := m.read()
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.log.Warn("the last credential is used on", "error", err)
	} else {
		m.last = keys
	}
	return m.last[0], m.last[1], m.last[2]
}

// GetSecretId gives the id.
func (m *Mounted) GetSecretId() string { id, _, _ := m.GetCredential(); return id }

// GetSecretKey gives the key.
func (m *Mounted) GetSecretKey() string { _, key, _ := m.GetCredential(); return key }

// GetToken gives the token, "" where the keys are not temporary.
func (m *Mounted) GetToken() string { _, _, token := m.GetCredential(); return token }
