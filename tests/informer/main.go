// Command informer follows the tags of a namespace as controllers do, and tells what it has in its stores.
//
// It has two informers: one of whole objects, one of their metadata only, which is what the garbage
// collector of the cluster has. For each line on its input it answers with one line of JSON.
//
// With "pages" behind the namespace it lists the tags two at a time, as the pager of client-go does, and ends.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/pager"
)

var tags = schema.GroupVersionResource{
	Group: "payload-registry.deckhouse.io", Version: "v1alpha1", Resource: "payloadrepositorytags",
}

// counts of what the handlers of one informer were told.
type counts struct {
	sync.Mutex
	Added, Updated, Deleted, Failed int
	// Handlers must see a history that makes sense: no second birth of what lives, no change of what does not.
	Wrong []string
	alive map[string]string
}

func (c *counts) note(kind string, object any) {
	if late, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = late.Obj
	}
	accessor, err := meta.Accessor(object)
	c.Lock()
	defer c.Unlock()
	if err != nil {
		c.Wrong = append(c.Wrong, fmt.Sprintf("%s: %v", kind, err))
		return
	}
	name, uid := accessor.GetName(), string(accessor.GetUID())
	known, lives := c.alive[name]
	switch kind {
	case "added":
		c.Added++
		if lives {
			c.Wrong = append(c.Wrong, name+" was added twice")
		}
		c.alive[name] = uid
	case "updated":
		c.Updated++
		if !lives {
			c.Wrong = append(c.Wrong, name+" was updated and is not there")
		}
		c.alive[name] = uid
	case "deleted":
		c.Deleted++
		if !lives {
			c.Wrong = append(c.Wrong, name+" was deleted and is not there")
		} else if known != uid {
			c.Wrong = append(c.Wrong, name+" was deleted as "+uid+" and is "+known)
		}
		delete(c.alive, name)
	}
}

func (c *counts) follow(informer cache.SharedIndexInformer) error {
	c.alive = map[string]string{}
	if err := informer.SetWatchErrorHandler(func(_ *cache.Reflector, err error) {
		c.Lock()
		defer c.Unlock()
		c.Failed++
		fmt.Fprintln(os.Stderr, "watch:", err)
	}); err != nil {
		return err
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { c.note("added", object) },
		UpdateFunc: func(_, object any) { c.note("updated", object) },
		DeleteFunc: func(object any) { c.note("deleted", object) },
	})
	return err
}

// seen is what a store has of one tag.
type seen struct {
	UID    string `json:"uid"`
	Digest string `json:"digest,omitempty"`
}

// look returns what a store holds: repository:tag, or the name where only metadata are known.
func look(store cache.Store) map[string]seen {
	found := map[string]seen{}
	for _, object := range store.List() {
		accessor, err := meta.Accessor(object)
		if err != nil {
			continue
		}
		key, tag := accessor.GetName(), seen{UID: string(accessor.GetUID())}
		if whole, ok := object.(*unstructured.Unstructured); ok {
			repository, _, _ := unstructured.NestedString(whole.Object, "status", "repository")
			name, _, _ := unstructured.NestedString(whole.Object, "status", "tag")
			key = repository + ":" + name
			tag.Digest, _, _ = unstructured.NestedString(whole.Object, "status", "digest")
		}
		found[key] = tag
	}
	return found
}

// pages prints the names of all tags, and how often it was told to begin anew.
func pages(config *rest.Config, namespace string) error {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	expired := 0
	list := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		page, err := client.Resource(tags).Namespace(namespace).List(ctx, options)
		if apierrors.IsResourceExpired(err) {
			expired++
		}
		return page, err
	})
	list.PageSize = 2
	found, _, err := list.List(context.Background(), metav1.ListOptions{})
	if err != nil {
		return err
	}
	names := []string{}
	if err := meta.EachListItem(found, func(object runtime.Object) error {
		accessor, err := meta.Accessor(object)
		if err == nil {
			names = append(names, accessor.GetName())
		}
		return err
	}); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"names": names, "expired": expired})
}

func run(namespace string, once bool) error {
	config, err := clientcmd.BuildConfigFromFlags(os.Getenv("SERVER"), os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	if once {
		return pages(config, namespace)
	}
	whole, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	part, err := metadata.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	objects := dynamicinformer.NewFilteredDynamicSharedInformerFactory(whole, time.Minute, namespace, nil)
	metas := metadatainformer.NewFilteredSharedInformerFactory(part, time.Minute, namespace, nil)
	informers := []cache.SharedIndexInformer{objects.ForResource(tags).Informer(), metas.ForResource(tags).Informer()}
	noted := []*counts{{}, {}}
	for index, informer := range informers {
		if err := noted[index].follow(informer); err != nil {
			return err
		}
	}
	objects.Start(ctx.Done())
	metas.Start(ctx.Done())

	input := bufio.NewScanner(os.Stdin)
	output := json.NewEncoder(os.Stdout)
	for input.Scan() {
		answer := map[string]any{
			"synced":   informers[0].HasSynced() && informers[1].HasSynced(),
			"objects":  look(informers[0].GetStore()),
			"metadata": look(informers[1].GetStore()),
		}
		for index, name := range []string{"objectEvents", "metadataEvents"} {
			noted[index].Lock()
			answer[name] = map[string]any{
				"added": noted[index].Added, "updated": noted[index].Updated, "deleted": noted[index].Deleted,
				"failed": noted[index].Failed, "wrong": append([]string{}, noted[index].Wrong...),
			}
			noted[index].Unlock()
		}
		if err := output.Encode(answer); err != nil {
			return err
		}
	}
	return input.Err()
}

func main() {
	once := len(os.Args) == 3 && os.Args[2] == "pages"
	if len(os.Args) != 2 && !once {
		fmt.Fprintln(os.Stderr, "usage: informer NAMESPACE [pages]")
		os.Exit(2)
	}
	if err := run(os.Args[1], once); err != nil {
		fmt.Fprintln(os.Stderr, "informer:", err)
		os.Exit(1)
	}
}
