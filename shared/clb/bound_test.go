package clb

import (
	"testing"

	"github.com/clb-direct/clb-direct/shared/model"
)

// A target is named as it was bound: a machine by its id, everything else by its address.
func TestTargetsAreNamedAsTheyWereBound(t *testing.T) {
	at := model.Address{IP: "10.0.0.1", Port: 30080}
	if instance, ip := bound(model.Target{Address: at, Instance: "ins-1"}); ip != nil || instance == nil || *instance != "ins-1" {
		t.Errorf("a machine is named by its id alone, got %v %v", instance, ip)
	}
	if instance, ip := bound(model.Target{Address: at}); instance != nil || ip == nil || *ip != at.IP {
		t.Errorf("a pod is named by its address alone, got %v %v", instance, ip)
	}
}
