/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/hold.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/str.h"
#include "keeper/sandbox.h"
#include "memory/seal.h"
#include "proto/holder.h"
#include "proto/keeper.h"

/* How it works: a table of keys and memfds, and a loop that answers one request a connection. The
 * table is all that it is for: it never looks into the memory. After its start it can open nothing
 * and connect to nothing (its own system call filter), and talks only to its own user and root. */

#define CHECK_USEC (10 * USEC_PER_SEC)
#define REQUEST_MAX 4096
#define CLIENTS_MAX 64

typedef struct Base {
    char key[HOLDER_KEY_SIZE];
    int fd; /* owned */
    uint64_t uses;
    uint64_t used_at_usec;
} Base;

typedef struct Holder Holder;

typedef struct Client {
    Holder *holder;
    int fd; /* owned; -1: a free place */
    LoopSource *source;
} Client;

struct Holder {
    Loop *loop;
    int listen_fd; /* owned */
    int folder_fd; /* owned */
    struct stat socket_file;
    LoopSource *check_timer;
    size_t n_bases;
    Base bases[HOLDER_BASES_MAX];
    Client clients[CLIENTS_MAX];
};

static Holder holder; /* large, and there is one */

static Base *find(const char *key) {
    for (size_t i = 0; i < holder.n_bases; i++)
        if (str_equal(holder.bases[i].key, key))
            return &holder.bases[i];
    return NULL;
}

static bool is_key(const char *key) {
    size_t length = key ? strlen(key) : 0;
    return length > 0 && length < HOLDER_KEY_SIZE &&
           strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-") ==
               length;
}

/* Requests: each returns the "ok" object, or NULL and the error. *out: a descriptor to go with it
 * (borrowed). A descriptor that is kept is set to -1. */

typedef json_t *(*Operation)(const char *key, int *fd, int *out, Error *error);

static json_t *op_put(const char *key, int *fd, int *out, Error *error) {
    if (*fd < 0 || !memory_is_sealed(*fd))
        (void)error_set(error, ERROR_USAGE, 0, "no sealed memory came with the request");
    else if (find(key))
        (void)error_set(error, ERROR_CONFLICT, EEXIST, "the key is in use");
    else if (holder.n_bases == HOLDER_BASES_MAX)
        (void)error_set(error, ERROR_CONFLICT, ENOSPC, "too many memory bases");
    if (error->kind != ERROR_NONE)
        return NULL;
    Base *base = &holder.bases[holder.n_bases++];
    *base = (Base){.fd = TAKE_FD(*fd), .used_at_usec = clock_monotonic_usec()};
    (void)snprintf(base->key, sizeof base->key, "%s", key);
    return json_object();
}

/* Moves the base to the end of the table: it is in the order of the last use. */
static Base *use(Base *base) {
    Base used = *base;
    size_t index = (size_t)(base - holder.bases);
    memmove(base, base + 1, (holder.n_bases - index - 1) * sizeof *base);
    used.uses++;
    used.used_at_usec = clock_monotonic_usec();
    holder.bases[holder.n_bases - 1] = used;
    return &holder.bases[holder.n_bases - 1];
}

static json_t *op_get(const char *key, int *fd, int *out, Error *error) {
    Base *base = find(key);
    struct stat file;
    if (!base || fstat(base->fd, &file) < 0) {
        (void)error_set(error, ERROR_NOT_FOUND, ENODATA, "no memory is held for the key");
        return NULL;
    }
    *out = use(base)->fd;
    return json_pack("{s:I}", "bytes", (json_int_t)file.st_size);
}

static json_t *op_drop(const char *key, int *fd, int *out, Error *error) {
    Base *base = find(key);
    if (base) {
        fd_close(base->fd);
        size_t index = (size_t)(base - holder.bases);
        memmove(base, base + 1, (--holder.n_bases - index) * sizeof *base);
    }
    return json_pack("{s:b}", "dropped", base != NULL);
}

static json_t *describe(const Base *base) {
    struct stat file = {0};
    (void)fstat(base->fd, &file);
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "key", base->key, "bytes",
                     (json_int_t)file.st_size, "allocated_bytes", (json_int_t)file.st_blocks * 512,
                     "inode", (json_int_t)file.st_ino, "uses", (json_int_t)base->uses, "used_at_us",
                     (json_int_t)base->used_at_usec);
}

static json_t *op_list(const char *key, int *fd, int *out, Error *error) {
    json_t *bases = json_array();
    for (size_t i = 0; i < holder.n_bases; i++)
        json_array_append_new(bases, describe(&holder.bases[i]));
    return json_pack("{s:o}", "bases", bases);
}

static json_t *op_quit(const char *key, int *fd, int *out, Error *error) {
    loop_quit(holder.loop);
    return json_object();
}

static const struct {
    const char *name;
    Operation run;
    bool has_key;
} operations[] = {
    {"drop", op_drop, true}, {"get", op_get, true},    {"list", op_list, false},
    {"put", op_put, true},   {"quit", op_quit, false},
};

static json_t *run(const json_t *request, int *fd, int *out, Error *error) {
    const char *op = json_string_value(json_object_get(request, "op"));
    const char *key = json_string_value(json_object_get(request, "key"));
    for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
        if (!str_equal(op, operations[i].name))
            continue;
        if (!operations[i].has_key || is_key(key))
            return operations[i].run(key, fd, out, error);
        (void)error_set(error, ERROR_USAGE, 0, "the request has no proper key");
        return NULL;
    }
    (void)error_set(error, ERROR_USAGE, 0, "there is no such operation");
    return NULL;
}

/* An answer that does not fit into the socket's buffer is dropped with the connection. */
static void answer(int sock, const char *text, size_t size, int *fd) {
    _cleanup_json_ json_t *request = NULL, *message = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    json_t *ok = NULL;
    int out = -1;
    if (json_parse("the request", text, size, &request, &error) == 0)
        ok = run(request, fd, &out, &error);
    message = ok ? json_pack("{s:o}", "ok", ok) : json_from_error(&error);
    _cleanup_free_ char *reply = json_to_text(message);
    (void)fd_send_message(sock, reply, strlen(reply), &out, out >= 0 ? 1 : 0);
}

static void client_close(Client *client) {
    client->source = loop_remove(client->source);
    client->fd = fd_close(client->fd);
}

static void on_client(void *data, uint32_t events) {
    Client *client = data;
    char text[REQUEST_MAX];
    int fd = -1;
    size_t n_fds = 1;
    ssize_t size = fd_receive_message(client->fd, text, sizeof text, &fd, &n_fds);
    if (size == -EAGAIN)
        return;
    if (n_fds == 0)
        fd = -1;
    if (size > 0)
        answer(client->fd, text, (size_t)size, &fd);
    if (size >= 0)
        fd_close(fd);
    client_close(client);
}

static bool is_allowed(int fd) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == 0 || peer.uid == getuid());
}

static Client *free_place(void) {
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (holder.clients[i].fd < 0)
            return &holder.clients[i];
    return NULL;
}

static void on_listener(void *data, uint32_t events) {
    int fd = accept4(holder.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    Client *client = free_place();
    if (fd < 0)
        return;
    if (!client || !is_allowed(fd)) {
        fd_close(fd);
        return;
    }
    client->fd = fd;
    client->source = loop_add_fd(holder.loop, fd, EPOLLIN, on_client, client);
    if (!client->source)
        client_close(client);
}

static bool socket_is_ours(struct stat *file) {
    return fstatat(holder.folder_fd, HOLDER_SOCKET_NAME, file, AT_SYMLINK_NOFOLLOW) == 0 &&
           (holder.socket_file.st_ino == 0 || (file->st_ino == holder.socket_file.st_ino &&
                                               file->st_dev == holder.socket_file.st_dev));
}

/* A home that was removed, or another holder in our place: nobody can reach us any more. */
static void on_check(void *data) {
    struct stat file;
    if (!socket_is_ours(&file))
        loop_quit(holder.loop);
    loop_set_timer(holder.check_timer, clock_monotonic_usec() + CHECK_USEC);
}

static int prepare(Error *error) {
    json_object_seed(0); /* reads /dev/urandom, which the filter will not let it */
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        holder.clients[i] = (Client){.holder = &holder, .fd = -1};
    int r = loop_new(&holder.loop);
    if (r == 0)
        r = fd_set_cloexec(holder.listen_fd, true);
    if (r == 0)
        r = fd_set_nonblocking(holder.listen_fd, true);
    if (r == 0 && !loop_add_fd(holder.loop, holder.listen_fd, EPOLLIN, on_listener, NULL))
        r = -errno;
    struct stat file;
    if (r == 0 && !socket_is_ours(&file))
        r = -ENOENT;
    if (r < 0)
        return error_set_errno(error, -r, "cannot hold memory");
    holder.socket_file = file;
    holder.check_timer =
        loop_add_timer(holder.loop, clock_monotonic_usec() + CHECK_USEC, on_check, NULL);
    return sandbox_drop_privileges(0, 0, error);
}

int hold_run(int listen_fd, int folder_fd, Error *error) {
    holder.listen_fd = listen_fd;
    holder.folder_fd = folder_fd;
    int r = prepare(error);
    if (r == 0)
        r = sandbox_filter_holder_calls(error);
    if (r == 0) {
        r = loop_run(holder.loop);
        if (r < 0)
            (void)error_set_errno(error, -r, "cannot wait for requests");
    }
    for (size_t i = 0; i < holder.n_bases; i++)
        fd_close(holder.bases[i].fd);
    loop_free(holder.loop);
    return r;
}
