/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_KEEPER_H
#define RAMET_PROTO_KEEPER_H

/* The daemon's side of a keeper: a SOCK_SEQPACKET unix socket "keeper.sock" in the VM's folder. A
 * connection carries one request; its answers are messages too, each one JSON object:
 *
 *   → {"op":"start", …}             (descriptors beside it)
 *   ← {"event":"stage","name":"qemu","at_us":…}   any number of them, monotonic times
 *   ← {"event":"log","level":"warning","message":…}
 *   ← {"ok":{…}}  or  {"error":{"code","message","hint"}}        the last one
 *
 * Descriptors in excess of FD_PASS_MAX come in messages of their own before it:
 * {"fds":n} with n descriptors, as often as needed; the request's indexes count over all of them.
 *
 * Operations:
 *   start    plan → {"boot","accel","qemu_pid","qemu_start_ticks","ready_at_us","agent_version",
 *            "marker","ram_nonce","counter","answered_at_us"}; only once, the first request of a
 *            keeper's life. Stages of a restore: sandbox, qemu, patch (when there are patches),
 * load, agent, identity. A plan with start_paused stops after the agent's WELCOME: no identity,
 *            virtual CPUs and link stopped, and the answer's "state" is "warm" (otherwise
 * "running") claim    {"identity":{as in the plan},"forwards":[as in the
 * plan],"name","remove_on_exit"} of a warm VM: goes on, applies the identity, link up. Answers as
 * start does, "boot" is "claimed"; stages: claim, identity. When it fails, QEMU is killed. All
 * members but identity may be absent snapshot
 * {"state_fd","memory_fd","disks":[{"fd","fd_write"}],"freeze","stay_paused", "freeze_timeout_us"}
 * (numbers of descriptors, as in the plan) of a running or paused VM with a live agent. See
 * "Snapshots" in docs/protocols.md → {"pause_us","kind":"full"|"diff",
 *            "frozen","dirty_bytes","memory_bytes","state_bytes","marker","ram_nonce","counter","mailbox"};
 *            stages: freeze, pause, state, memory, disks, resume, write
 *   resize   {"disk","bytes"}: the disk's size as the guest sees it; grows only
 *   memory   → {"dirty_bytes","ram_bytes","base_device","base_inode","sealed"}
 *   status   →
 * {"state","qemu_pid","qemu_start_ticks","keeper_pid","boot","ready","clients","vm_id",
 *            "agent","owner_gone","answered_at_us","ready_at_us","marker","ram_nonce","counter",
 *            "snapshots" (how many were taken), "snapshotting",
 *            "disks":[{"device","inode"} of the file that each writable disk is written to]}.
 * States: waiting starting warm running paused stopping stopped. "boot": cold restored claimed
 *   watch    stays open: {"event":"state","state":…}, {"event":"exit","cause":…,"status":…}; EOF
 * when the keeper is gone exec
 * {"argv","env","directory","user","tty","rows","columns","stdin","owner"} with the client's
 *            stream: the keeper talks frames with the client from then on; ok = the stream was
 * taken. owner:true binds a --rm VM to this client attach   {"owner":true} with the client's
 * stream: only binds; nothing is executed copy_in, copy_out   {"path","flags"} with the client's
 * stream stop     {"timeout_us"}: agent → power off → kill; ok with {"how"} once QEMU is gone kill
 * QEMU at once; ok once it is gone pause, resume   the virtual CPUs sync, freeze, thaw, grow, ping
 * the agent's request of that name
 */

#include <stdbool.h>

#include "base/fd.h"
#include "base/json.h"

#define KEEPER_SOCKET_NAME "keeper.sock"
#define KEEPER_MESSAGE_MAX (160u * 1024u)

typedef struct KeeperConnection {
    int fd;
} KeeperConnection;

/* Connects to the keeper of the VM whose folder vm_dir_fd is. -ECONNREFUSED or -ENOENT: no keeper.
 */
int keeper_connect(int vm_dir_fd, KeeperConnection *connection, Error *error);
void keeper_close(KeeperConnection *connection);

/* Sends a request with any number of descriptors (borrowed). */
int keeper_send(KeeperConnection *connection, const json_t *request, const int *fds, size_t n_fds,
                Error *error);

/* Waits for one message until the deadline. cancel_fd as in lock_acquire. 0 and the message;
 * -ECONNRESET when the keeper is gone. */
int keeper_receive(KeeperConnection *connection, uint64_t deadline_usec, int cancel_fd,
                   json_t **message, Error *error);

/* Sends, hands every event to on_event (may be NULL), and returns the "ok" object or the keeper's
 * error. */
typedef void (*KeeperEventHandler)(void *data, const json_t *event);
int keeper_call(int vm_dir_fd, const json_t *request, const int *fds, size_t n_fds,
                uint64_t deadline_usec, int cancel_fd, KeeperEventHandler on_event, void *data,
                json_t **ok, Error *error);

#endif
