/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/image/registry.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/process/spawn_run.h"
#include "base/str.h"
#include "bench/scratch.h"

#define ANSWER_USEC (120 * USEC_PER_SEC)
#define TYPE_PREFIX "application/vnd.oci.image."

/* ---- the registry ---- */

static int pick_port(struct sockaddr_in *address, Error *error) {
    _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof(*address);
    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || bind(fd, (struct sockaddr *)address, sizeof(*address)) < 0 ||
        getsockname(fd, (struct sockaddr *)address, &size) < 0)
        return error_set_errno(error, errno, "cannot find a free port");
    return 0;
}

static bool answers(const struct sockaddr_in *address) {
    _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0;
}

static int await_answer(Registry *registry, const struct sockaddr_in *address, Error *error) {
    uint64_t end = clock_monotonic_usec() + ANSWER_USEC;
    while (!answers(address)) {
        const struct timespec moment = {.tv_nsec = 10000000};
        if (waitpid(registry->pid, NULL, WNOHANG) > 0) {
            registry->pid = 0;
            return error_set(error, ERROR_FAILED, EIO, "docker-registry ended at once");
        }
        if (clock_monotonic_usec() > end)
            return error_set(error, ERROR_FAILED, ETIMEDOUT, "docker-registry does not answer");
        (void)nanosleep(&moment, NULL);
    }
    return 0;
}

static int write_json(const char *path, const json_t *json, Error *error) {
    if (json_dump_file(json, path, JSON_COMPACT) < 0)
        return error_set_errno(error, EIO, "cannot write %s", path);
    return 0;
}

/* YAML, of which JSON is a part. */
static int write_settings(const Registry *registry, const char *path, Error *error) {
    _cleanup_free_ char *data = path_join(registry->folder, "registry");
    _cleanup_json_ json_t *settings = json_pack(
        "{s:s, s:{s:{s:s}}, s:{s:s}, s:{s:s}}", "version", "0.1", "storage", "filesystem",
        "rootdirectory", data, "http", "addr", registry->address, "log", "level", "error");
    return write_json(path, settings, error);
}

int registry_start(Registry *registry, const char *folder, Error *error) {
    _cleanup_free_ char *program = path_find_program("docker-registry");
    _cleanup_free_ char *settings = path_join(folder, "registry.yml");
    char *const argv[] = {program, (char *)"serve", settings, NULL};
    const SpawnOptions options = {.program = program, .argv = argv, .die_with_parent = true};
    struct sockaddr_in address;
    *registry = (Registry){.folder = folder};
    if (!program)
        return error_set(error, ERROR_UNSUPPORTED, ENOENT, "docker-registry is not installed");
    int r = pick_port(&address, error);
    if (r < 0)
        return r;
    (void)snprintf(registry->address, sizeof(registry->address), "127.0.0.1:%u",
                   (unsigned)ntohs(address.sin_port));
    r = write_settings(registry, settings, error);
    if (r >= 0)
        r = spawn_process(&options, &registry->pid, error);
    return r < 0 ? r : await_answer(registry, &address, error);
}

void registry_stop(Registry *registry) {
    if (registry->pid <= 0)
        return;
    (void)kill(registry->pid, SIGKILL);
    spawn_reap(registry->pid, NULL);
    registry->pid = 0;
}

/* ---- a folder in the OCI layout ---- */

/* Puts the file at `path` under the name of its digest; *descriptor is the caller's. */
static int add_blob(const char *layout, const char *path, const char *type, json_t **descriptor,
                    Error *error) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    char hex[SHA256_HEX_SIZE];
    struct stat info;
    if (fd < 0 || fstat(fd, &info) < 0)
        return error_set_errno(error, errno, "cannot open %s", path);
    int r = sha256_file(fd, hex, error);
    if (r < 0)
        return r;
    _cleanup_free_ char *name = str_format("%s/blobs/sha256/%s", layout, hex);
    _cleanup_free_ char *digest = str_format("sha256:%s", hex);
    if (link(path, name) < 0)
        return error_set_errno(error, errno, "cannot make %s", name);
    *descriptor = json_pack("{s:s, s:s, s:I}", "mediaType", type, "digest", digest, "size",
                            (json_int_t)info.st_size);
    return 0;
}

static int add_document(const char *layout, const json_t *document, const char *type,
                        json_t **descriptor, Error *error) {
    _cleanup_free_ char *path = path_join(layout, "document");
    int r = write_json(path, document, error);
    if (r >= 0)
        r = add_blob(layout, path, type, descriptor, error);
    (void)unlink(path);
    return r;
}

static int add_layers(const char *layout, const RegistryImage *image, json_t *layers,
                      Error *error) {
    int r = 0;
    for (size_t i = 0; i < image->n_layers && r >= 0; i++) {
        json_t *layer;
        r = add_blob(layout, image->layers[i], TYPE_PREFIX "layer.v1.tar+gzip", &layer, error);
        if (r >= 0)
            json_array_append_new(layers, layer);
    }
    return r;
}

static json_t *describe_config(const RegistryImage *image) {
    json_t *decoded = json_array();
    for (size_t i = 0; i < image->n_layers; i++) {
        _cleanup_free_ char *digest = str_format("sha256:%s", image->decoded[i]);
        json_array_append_new(decoded, json_string(digest));
    }
    return json_pack("{s:s, s:s, s:{s:[s, s]}, s:{s:s, s:o}}", "architecture", "amd64", "os",
                     "linux", "config", "Cmd", "/bin/echo", "hello", "rootfs", "type", "layers",
                     "diff_ids", decoded);
}

static int add_manifest(const char *layout, const RegistryImage *image, json_t **descriptor,
                        Error *error) {
    _cleanup_json_ json_t *layers = json_array(), *config = describe_config(image);
    _cleanup_json_ json_t *manifest = NULL;
    json_t *stored;
    int r = add_layers(layout, image, layers, error);
    if (r >= 0)
        r = add_document(layout, config, TYPE_PREFIX "config.v1+json", &stored, error);
    if (r < 0)
        return r;
    manifest = json_pack("{s:i, s:s, s:o, s:O}", "schemaVersion", 2, "mediaType",
                         TYPE_PREFIX "manifest.v1+json", "config", stored, "layers", layers);
    return add_document(layout, manifest, TYPE_PREFIX "manifest.v1+json", descriptor, error);
}

static int write_layout(const char *layout, const RegistryImage *image, Error *error) {
    _cleanup_free_ char *blobs = path_join(layout, "blobs/sha256");
    _cleanup_free_ char *index_path = path_join(layout, "index.json");
    _cleanup_free_ char *mark_path = path_join(layout, "oci-layout");
    _cleanup_json_ json_t *mark = json_pack("{s:s}", "imageLayoutVersion", "1.0.0");
    _cleanup_json_ json_t *index = NULL;
    json_t *manifest;
    int r = path_make_folders(blobs, 0700);
    if (r < 0)
        return error_set_errno(error, -r, "cannot make %s", blobs);
    r = add_manifest(layout, image, &manifest, error);
    if (r < 0)
        return r;
    index = json_pack("{s:i, s:[o]}", "schemaVersion", 2, "manifests", manifest);
    r = write_json(index_path, index, error);
    return r < 0 ? r : write_json(mark_path, mark, error);
}

int registry_push(const Registry *registry, const RegistryImage *image, Error *error) {
    _cleanup_free_ char *layout = path_join(registry->folder, "layout");
    _cleanup_free_ char *from = str_format("oci:%s", layout);
    _cleanup_free_ char *to = str_format("docker://%s/%s", registry->address, image->name);
    const char *const argv[] = {"skopeo", "copy", "-q", "--dest-tls-verify=false", from, to, NULL};
    int r = write_layout(layout, image, error);
    if (r >= 0)
        r = bench_run_tool((char *const *)argv, error);
    (void)path_remove_tree(layout);
    return r;
}
