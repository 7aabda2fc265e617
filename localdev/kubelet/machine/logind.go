package machine

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"
)

// What the kubelet asks of logind (pkg/kubelet/nodeshutdown/systemd/inhibit_linux.go and
// org.freedesktop.login1(5)).
const (
	logindName      = "org.freedesktop.login1"
	logindPath      = dbus.ObjectPath("/org/freedesktop/login1")
	logindInterface = "org.freedesktop.login1.Manager"
	// inhibitDelay is more than any kubelet wants, so that none tries to reconfigure logind.
	inhibitDelay = time.Hour
)

// logind announces that the machine shuts down, as systemd's does, and shuts nothing down.
type logind struct{ bus *dbus.Conn }

// manager is what it can be asked.
type manager struct {
	mu    sync.Mutex
	locks []*os.File // open until the process ends: the bus sends them after Inhibit returns
}

// Inhibit gives a lock, which whoever has it gives back by closing it. Nobody waits for that.
func (m *manager) Inhibit(_, _, _, _ string) (dbus.UnixFD, *dbus.Error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.locks = append(m.locks, r, w)
	return dbus.UnixFD(w.Fd()), nil
}

func newLogind(socket string) (*logind, error) {
	bus, err := dbus.Connect("unix:path=" + socket)
	if err != nil {
		return nil, fmt.Errorf("connecting to the bus: %w", err)
	}
	if err := bus.Export(&manager{}, logindPath, logindInterface); err != nil {
		return nil, fmt.Errorf("offering logind: %w", err)
	}
	_, err = prop.Export(bus, logindPath, prop.Map{logindInterface: {
		"InhibitDelayMaxUSec": {Value: uint64(inhibitDelay / time.Microsecond)},
	}})
	if err != nil {
		return nil, fmt.Errorf("offering logind: %w", err)
	}
	if reply, err := bus.RequestName(logindName, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		return nil, fmt.Errorf("taking logind's name: reply %d, %w", reply, err)
	}
	return &logind{bus}, nil
}

// obey does what a command says.
func (l *logind) obey(command string) error {
	switch command {
	case CommandShutdown, CommandResume:
		return l.bus.Emit(logindPath, logindInterface+".PrepareForShutdown", command == CommandShutdown)
	}
	return fmt.Errorf("%q is not a command", command)
}
