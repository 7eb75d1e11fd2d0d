/* SPDX-License-Identifier: Apache-2.0 */

#include "network/doors.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/str.h"

#define BACKLOG 128 /* who comes while it wakes */

typedef struct Door {
    char vm[VM_ID_SIZE];
    SwitchForward forward;
    int fd; /* owned */
    struct Door *next;
} Door;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static Door *doors; /* with the mutex */

static bool is_at(const Door *door, const SwitchForward *forward) {
    return door->forward.udp == forward->udp && door->forward.host_port == forward->host_port &&
           memcmp(door->forward.host_ip, forward->host_ip, sizeof(forward->host_ip)) == 0;
}

static Door *find(const SwitchForward *forward) {
    Door *door = doors;
    while (door && !is_at(door, forward))
        door = door->next;
    return door;
}

static int bind_there(int fd, const SwitchForward *forward) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)forward->host_port)};
    int one = 1;
    memcpy(&address.sin_addr, forward->host_ip, sizeof(forward->host_ip));
    if (!forward->udp)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    int r = bind(fd, (struct sockaddr *)&address, sizeof(address));
    return r < 0 || forward->udp ? r : listen(fd, BACKLOG);
}

static int open_socket(const SwitchForward *forward) {
    int type = forward->udp ? SOCK_DGRAM : SOCK_STREAM;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd >= 0 && bind_there(fd, forward) < 0 ? fd_close(fd) : fd;
}

static void add(const VmRow *vm, const SwitchForward *forward) {
    int fd = open_socket(forward);
    Door *door = fd < 0 ? NULL : calloc(1, sizeof(*door));
    if (!door) {
        (void)fd_close(fd);
        return;
    }
    *door = (Door){.forward = *forward, .fd = fd, .next = doors};
    str_set(door->vm, vm->id);
    doors = door;
}

void door_open(const VmRow *vm, const SwitchForward *forward) {
    if (!vm->spec.policy.idle_usec && !vm->runtime.timers.dozing)
        return;
    (void)pthread_mutex_lock(&mutex);
    if (!find(forward))
        add(vm, forward);
    (void)pthread_mutex_unlock(&mutex);
}

static int duplicate(const Door *door) {
    return fcntl(door->fd, F_DUPFD_CLOEXEC, 3);
}

void door_open_knock(const VmRow *vm, int fd) {
    Door *door = calloc(1, sizeof(*door));
    if (!door)
        abort();
    *door = (Door){.fd = fd};
    str_set(door->vm, vm->id);
    (void)pthread_mutex_lock(&mutex);
    door->next = doors;
    doors = door;
    (void)pthread_mutex_unlock(&mutex);
}

int door_take(const SwitchForward *forward) {
    (void)pthread_mutex_lock(&mutex);
    const Door *door = find(forward);
    int fd = door ? duplicate(door) : -1;
    (void)pthread_mutex_unlock(&mutex);
    return fd;
}

static bool listens_at(const Door *door, const void *forward) {
    return is_at(door, forward);
}

static bool belongs_to(const Door *door, const void *vm) {
    return str_equal(door->vm, vm);
}

static void close_those(bool (*fits)(const Door *, const void *), const void *which) {
    (void)pthread_mutex_lock(&mutex);
    for (Door **link = &doors; *link;) {
        Door *door = *link;
        if (!fits(door, which)) {
            link = &door->next;
            continue;
        }
        *link = door->next;
        (void)fd_close(door->fd);
        free(door);
    }
    (void)pthread_mutex_unlock(&mutex);
}

void door_close(const SwitchForward *forward) {
    close_those(listens_at, forward);
}

void doors_close(const char *vm) {
    close_those(belongs_to, vm);
}

bool door_is_open(const char *vm) {
    bool found = false;
    (void)pthread_mutex_lock(&mutex);
    for (const Door *door = doors; door; door = door->next)
        found |= str_equal(door->vm, vm);
    (void)pthread_mutex_unlock(&mutex);
    return found;
}

size_t doors_take_all(const char *vm, int fds[DOORS_MAX]) {
    size_t count = 0;
    (void)pthread_mutex_lock(&mutex);
    for (const Door *door = doors; door && count < DOORS_MAX; door = door->next)
        if (str_equal(door->vm, vm) && (fds[count] = duplicate(door)) >= 0)
            count++;
    (void)pthread_mutex_unlock(&mutex);
    return count;
}
