package tc3

import (
	"maps"
	"sync"
	"time"

	"github.com/clb-direct/clb-direct/localdev/cam"
)

// Credential is what a signature is checked against: a permanent key pair, or a
// temporary one with a token, as an execution role gives it.
type Credential struct {
	SecretID, SecretKey string
	// Token must be sent as X-TC-Token; empty for a permanent key pair.
	Token string
	// Principal says who calls, for call logs and limits by caller.
	Principal string
	// Expires ends a temporary credential; zero means never.
	Expires time.Time
	// Policies are what its user or role was granted. Nil is the key of the main account,
	// which may do everything; who was granted nothing has an empty list.
	Policies []cam.Policy
}

// Store holds the credentials that servers accept. One store is given to several
// servers, so that the credentials one of them issues are good at the others. It is
// safe for concurrent use; the zero value is empty and ready.
type Store struct {
	mu   sync.RWMutex
	byID map[string]Credential
	skew time.Duration
}

// Add makes c acceptable, replacing one with the same SecretID.
func (s *Store) Add(c Credential) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID == nil {
		s.byID = map[string]Credential{}
	}
	s.byID[c.SecretID] = c
}

// Remove forgets the credential with that SecretID.
func (s *Store) Remove(secretID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, secretID)
}

// Lookup finds the credential with that SecretID, expired or not.
func (s *Store) Lookup(secretID string) (Credential, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, ok := s.byID[secretID]
	return c, ok
}

// SetSkew has servers take signatures for this much older than they are, as when the
// clock of who signs is behind theirs; below zero, ahead.
func (s *Store) SetSkew(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skew = d
}

// Skew is what SetSkew was given last.
func (s *Store) Skew() time.Duration {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.skew
}

// Expire ends every temporary credential at t.
func (s *Store) Expire(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, c := range s.byID {
		if c.Token != "" {
			c.Expires = t
			s.byID[id] = c
		}
	}
}

// Prune forgets what expired before t, so that a server issuing a credential with
// every event doesn't grow without bound.
func (s *Store) Prune(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.byID, func(_ string, c Credential) bool {
		return !c.Expires.IsZero() && c.Expires.Before(t)
	})
}
