// Package nodejs has a client that nobody here wrote speak to the CLB emulator: the npm
// package tencentcloud-sdk-nodejs creates a load balancer and a listener, binds two
// targets, reads their health and deletes everything, while the test looks at what the
// emulator made of it.
//
// The client's version is pinned in package.json and its dependencies' hashes in
// package-lock.json; they are installed into the user's cache, once. It needs node and
// npm, which `make node` installs on a Debian machine.
package nodejs
