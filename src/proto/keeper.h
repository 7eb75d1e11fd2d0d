/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_KEEPER_H
#define RAMET_PROTO_KEEPER_H

/* clang-format off: it would join the lines of the list */
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
 * A request longer than KEEPER_MESSAGE_MAX is the content of a file (a memfd), the last descriptor,
 * and the message is {"body":bytes}.
 *
 * Operations:
 *
 *   start      plan → {"boot","accel","qemu_pid","qemu_start_ticks","ready_at_us","agent_version",
 *              "marker","ram_nonce","counter","answered_at_us","ssh_key",
 *              "held"}; only once, the first
 *              request of a keeper's life. Stages of a restore: sandbox, qemu, patch (when there
 *              are patches), load, agent, identity. A plan with start_paused stops once the agent
 *              waits to be claimed: virtual CPUs stopped, and the answer's "state" is "warm"
 *              (otherwise "running")
 *   claim      {"identity":{as in the plan},"forwards":[as in a card],"name","remove_on_exit"}
 *              of a warm VM: goes on, applies the identity, link up. Answers as start does, "boot"
 *              is "claimed"; stages: claim, agent, identity. When it fails, QEMU is killed. All
 *              members but identity may be absent
 *   snapshot   {"state_fd","memory_fd","capture_fd","whole","unwritten","full",
 *              "disks":[{"fd","fd_write"}],"freeze","stay_paused","freeze_timeout_us"} (numbers of
 *              descriptors, as in the plan) of a running or paused VM with a live agent →
 *              {"pause_us","capture" (what told the pages that were written while it was copied:
 *              "userfaultfd", "soft-dirty", "none"),"kind":"full"|"diff","whole","unwritten",
 *              "frozen","held","dirty_bytes","memory_bytes","state_bytes","marker","ram_nonce",
 *              "counter","mailbox"}. The memory is copied into capture_fd, an empty memfd of its
 *              size; "whole": all of it, not only what is dirty, is in there at the end.
 *              "unwritten": memory_fd stays empty. "full": no diff is written to it, but a new
 *              base. A keeper of an earlier version ignores these and does not answer them.
 *              Stages: sync, copy, freeze, pause, memory, state, disks, write. See "Snapshots" in
 *              docs/protocols.md
 *              "group":true: it is saved together with other VMs. Where all have to be as far it
 *              says {"event":"meet","where":"copied"|"frozen"|"paused","at_us"}, and goes on when
 *              it is sent {"go_on":true} over the same connection; with false it gives up.
 *              "adopt":true: the VM may map the snapshot's memory in the place of its own
 *              afterwards; the answer has "adoption": "offered", or why not ("no-zygote",
 *              "no-page-tracking", "little-to-gain", "busy"), and "owner" as in the status
 *   adopt      {"memory_fd","owner"}: the VM maps that file, which holds the whole memory of the
 *              snapshot that was taken last, of that id → {"pause_us","carried_bytes" (written
 *              since),"owner","base_device","base_inode"}. ERROR_CONFLICT: it was not offered, or
 *              is no more
 *   resize     {"disk","bytes"}: the disk's size as the guest sees it; grows only
 *   memory     → {"dirty_bytes","ram_bytes","base_device","base_inode","sealed"}
 *   forward    {"forward":{as in a card},"remove"}: a port of the host more, or less, on its
 *              user-mode network
 *   peers      → {"cards":[indexes]}, and beside it a descriptor for each: the other ends of the
 *              datagram sockets of its cards, of which it keeps a copy
 *   status     → {"state","qemu_pid","qemu_start_ticks","keeper_pid","boot","ready","clients",
 *              "active_at_us" (monotonic: when a client came or went last; 0: none did),
 *              "vm_id","agent","owner_gone","responsive","no_room","answered_at_us","ready_at_us","marker",
 *              "program":{"exit_status","ended_at"} (null: it has not ended),
 *              "ram_nonce","counter","snapshots" (how many were taken),"snapshotting",
 *              "disks":[{"device","inode"} of the file that each writable disk is written to]}, and
 *              "owner","base_device","base_inode" once it has adopted a snapshot's memory.
 *              States: waiting starting warm running paused stopping stopped. "boot": cold
 *              restored claimed
 *   watch      stays open: {"event":"state","state":…,"no_room"}, {"event":"pulse","responsive":…},
 *              {"event":"program","program":…}, {"event":"exit","cause":…,"status":…}; EOF when the
 *              keeper is gone
 *   exec       {"argv","env","directory","user","tty","rows","columns","stdin","owner",
 *              "timeout_s"} with the client's stream: the keeper talks frames with the client
 *              from then on; ok = the stream was taken. owner:true binds a --rm VM to this client
 *   attach     {"owner":true} with the client's stream: only binds; nothing is executed
 *   copy_in, copy_out     {"path","flags"} with the client's stream
 *   connect    {"port"} with the client's stream: a TCP connection of the guest
 *   disk_stats → {"read_bytes","read_operations","write_bytes","write_operations",
 *              "flush_operations"}, of all disks. ERROR_CONFLICT while a snapshot is taken
 *   stop       {"timeout_us"}: agent → power off → kill; ok with {"how"} once QEMU is gone
 *   kill       QEMU at once; ok once it is gone
 *   abandon    the same, but what the guest holds of disks that outlive the VM is written first
 *   pause, resume         the virtual CPUs
 *   sync, freeze, thaw, grow, ping        the agent's request of that name (grow: FS_RESIZE, which
 *              keepers of earlier versions, whose VMs live on, know by that name)
 *   read, write, stat     {"path","mode","bytes"} with the client's socket: a file of the guest
 *   exec_detached         as exec without a client; → {"id"}
 *   exec_wait             {"id","timeout_s"} with the client's socket
 *   exec_list             → {"list":[…]}
 *   exec_kill             {"id","signal"}
 *
 * With "answer" (document, lines, file, stat or done; see keeper/api/answer.h), "output" and
 * "chunked" the client's socket is one of plain HTTP, and the keeper writes the response. A second
 * descriptor is a file that is the input then. */
/* clang-format on */

#include <stdbool.h>

#include "base/fd.h"
#include "base/json.h"
#include "proto/plan.h"

#define KEEPER_SOCKET_NAME "keeper.sock"
#define KEEPER_MESSAGE_MAX (160u * 1024u)
#define KEEPER_BODY_MAX (64u * 1024u * 1024u) /* a request that comes in a file */

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

/* To a task that waits for a word over this connection: whether it is to go on. */
int keeper_tell(KeeperConnection *connection, bool go_on, Error *error);

/* Sends, hands every event to on_event (may be NULL), and returns the "ok" object or the keeper's
 * error. */
typedef void (*KeeperEventHandler)(void *data, const json_t *event);
int keeper_call(int vm_dir_fd, const json_t *request, const int *fds, size_t n_fds,
                uint64_t deadline_usec, int cancel_fd, KeeperEventHandler on_event, void *data,
                json_t **ok, Error *error);

/* Asks for the other ends of its cards' sockets: fds[card], the caller's; -1 where there is none.
 */
int keeper_ask_peers(int vm_dir_fd, int fds[PLAN_CARDS_MAX], uint64_t deadline_usec, Error *error);

/* The second half of it, for a request that was sent. After ERROR_TIMEOUT it may be called again.
 */
int keeper_await(KeeperConnection *connection, uint64_t deadline_usec, int cancel_fd,
                 KeeperEventHandler on_event, void *data, json_t **ok, Error *error);

#endif
