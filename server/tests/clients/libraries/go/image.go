package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

const (
	oci     = "application/vnd.oci.image"
	created = "2026-01-02T03:04:05Z"
)

// image has one layer that holds a text.
type image struct {
	blobs    [][]byte
	manifest []byte
	digest   string
	size     int64
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int    `json:"size"`
}

func described(kind string, content []byte) descriptor {
	return descriptor{kind, digestOf(content), len(content)}
}

func digestOf(content []byte) string {
	return fmt.Sprintf("sha256:%x", sha256.Sum256(content))
}

// newImage: with a subject it is an artifact that belongs to another image.
func newImage(text string, subject *image) *image {
	layer := layerWith(text)
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	_, _ = writer.Write(layer)
	_ = writer.Close()
	config, kind := []byte("{}"), "application/vnd.oci.empty.v1+json"
	if subject == nil {
		config, kind = configOf(layer), oci+".config.v1+json"
	}
	manifest := map[string]any{
		"schemaVersion": 2,
		"mediaType":     oci + ".manifest.v1+json",
		"config":        described(kind, config),
		"layers":        []descriptor{described(oci+".layer.v1.tar+gzip", packed.Bytes())},
		"annotations":   map[string]string{"org.example.text": text},
	}
	if subject != nil {
		manifest["artifactType"] = "application/vnd.example.note"
		manifest["subject"] = described(oci+".manifest.v1+json", subject.manifest)
	}
	made := &image{blobs: [][]byte{config, packed.Bytes()}}
	made.manifest, _ = json.Marshal(manifest)
	made.digest = digestOf(made.manifest)
	made.size = int64(len(made.manifest) + len(config) + packed.Len())
	return made
}

func configOf(layer []byte) []byte {
	config, _ := json.Marshal(map[string]any{
		"created":      created,
		"author":       "somebody@example.com",
		"architecture": "arm64",
		"os":           "linux",
		"config":       map[string]any{"Cmd": []string{"/hello"}},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{digestOf(layer)}},
		"history": []any{
			map[string]any{"created": created, "created_by": "COPY hello /hello"},
			map[string]any{"created": created, "created_by": `CMD ["/hello"]`, "empty_layer": true},
		},
	})
	return config
}

func layerWith(text string) []byte {
	var packed bytes.Buffer
	archive := tar.NewWriter(&packed)
	_ = archive.WriteHeader(&tar.Header{Name: "hello", Mode: 0o755, Size: int64(len(text))})
	_, _ = io.WriteString(archive, text)
	_ = archive.Close()
	return packed.Bytes()
}

// registry is /v2 of the server, as somebody with a name and a secret.
type registry struct {
	url, name, secret string
}

// reply is what is looked at of an answer.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// login is the status of what `docker login` asks.
func (r registry) login() int {
	return r.ask("GET", r.url+"/v2/", "", nil, "").status
}

// push as docker does: a token, blobs, the manifest. The answer to the manifest, or the first one that refuses.
func (r registry) push(repository string, pushed *image, tag string) reply {
	token := r.token(repository)
	for _, blob := range pushed.blobs {
		begun := r.ask("POST", fmt.Sprintf("%s/v2/%s/blobs/uploads/", r.url, repository), token, nil, "")
		if begun.status != http.StatusAccepted {
			return begun
		}
		base, _ := url.Parse(r.url)
		where, err := base.Parse(begun.header.Get("Location"))
		if err != nil {
			panic(unexpected{"Location", err})
		}
		query := where.Query()
		query.Set("digest", digestOf(blob))
		where.RawQuery = query.Encode()
		kept := r.ask("PUT", where.String(), token, blob, "application/octet-stream")
		if kept.status != http.StatusCreated {
			return kept
		}
	}
	if tag == "" {
		tag = pushed.digest
	}
	return r.ask("PUT", fmt.Sprintf("%s/v2/%s/manifests/%s", r.url, repository, tag), token, pushed.manifest, oci+".manifest.v1+json")
}

func (r registry) pull(repository, reference string) reply {
	return r.ask("GET", fmt.Sprintf("%s/v2/%s/manifests/%s", r.url, repository, reference), r.token(repository), nil, "")
}

func (r registry) token(repository string) string {
	asked := url.Values{"service": {"harbor-registry"}, "scope": {"repository:" + repository + ":pull,push"}}
	var told struct{ Token string }
	_ = json.Unmarshal(r.ask("GET", r.url+"/service/token?"+asked.Encode(), "", nil, "").body, &told)
	return told.Token
}

// ask with the token, and where there is none with name and secret.
func (r registry) ask(method, where, token string, body []byte, kind string) reply {
	request, err := http.NewRequest(method, where, bytes.NewReader(body))
	if err != nil {
		panic(unexpected{where, err})
	}
	request.Header.Set("Accept", oci+".manifest.v1+json")
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	if token == "" {
		request.SetBasicAuth(r.name, r.secret)
	} else {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(unexpected{where, err})
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		panic(unexpected{where, err})
	}
	return reply{response.StatusCode, response.Header, content}
}

// code is the first one of a refusal's envelope.
func (r reply) code() string {
	var told struct{ Errors []struct{ Code string } }
	_ = json.Unmarshal(r.body, &told)
	if len(told.Errors) == 0 {
		return ""
	}
	return told.Errors[0].Code
}
