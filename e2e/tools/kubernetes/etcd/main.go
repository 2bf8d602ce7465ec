// Command etcd is the etcd server, at the version that kubernetes' own go.mod asks for.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
