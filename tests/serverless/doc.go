// Package serverless holds serverless.yml to what is documented of it, and the functions
// that it deploys to every trigger there is: from this file, the package that would be
// uploaded runs on the SCF emulator, and is handed what each trigger hands over.
package serverless
