/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_KEEPER_KEEPER_H
#define RAMET_KEEPER_KEEPER_H

/* What the keeper knows, and how its parts call each other. One VM, one thread, one loop.
 *
 *   request.c  messages of the daemon          session.c  clients' streams
 *   start.c    from plan to ready              identity.c what the agent is told to become
 *   machine.c  QEMU: process, QMP, console     port.c     the agent's port: bytes to and from the
 * link power.c    stop, kill, pause, resume       end.c      QEMU has ended: tell, record, leave
 *   restore.c  the load of a snapshot              claim.c    a warm VM becomes somebody
 *   snapshot.c freeze, pause, write, answer        pause.c    what happens while it is paused
 *
 * States:
 *
 *   WAITING ──start──▶ STARTING ──ready──▶ RUNNING ⇄ PAUSED
 *      │                  │                   │ stop
 *      │ 30 s             │ error             ▼
 *      ▼                  ▼                STOPPING ──QEMU's exit──▶ ENDED ──all told──▶ exit
 *     exit              kill ───────────────────────────────────────▶
 *
 * With start_paused a start ends in WARM instead; a claim leads back to STARTING, and on to
 * RUNNING.
 *
 * QEMU's exit leads to ENDED from any state that has a QEMU. */

#include "base/fd.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/spawn.h"
#include "keeper/link.h"
#include "keeper/logfile.h"
#include "memory/ram.h"
#include "proto/plan.h"
#include "proto/tlv.h"
#include "qemu/argv.h"
#include "qemu/qmp.h"

typedef struct Keeper Keeper;
typedef struct Connection Connection; /* of the daemon; request.c */
typedef struct Session Session;       /* of a client; session.c */
typedef struct Snapshot Snapshot;     /* that is being taken; snapshot.c */

typedef enum KeeperState {
    KEEPER_WAITING,
    KEEPER_STARTING,
    KEEPER_WARM,
    KEEPER_RUNNING,
    KEEPER_PAUSED,
    KEEPER_STOPPING,
    KEEPER_ENDED,
} KeeperState;

/* A descriptor with its place in the loop. */
typedef struct Watched {
    int fd;             /* owned; -1: closed */
    LoopSource *source; /* owned by the loop */
} Watched;

typedef struct Machine {
    ProcessIdentity process;
    Watched pid; /* pidfd */
    Watched console;
    Watched error_output;
    Qmp *qmp;               /* owned; has its own descriptor */
    LoopSource *qmp_source; /* owned by the loop */
    LogFile console_log;
    LogFile error_log;
    char shutdown_reason[32]; /* of QEMU's SHUTDOWN event; "" if there was none */
    const char *killed_for;   /* cause, when the keeper killed it; NULL: it did not */
    bool internal_error;      /* stopped by itself */
    char disk_nodes[PLAN_DISKS_MAX][QEMU_NODE_NAME_SIZE]; /* of the overlays */
    dev_t disk_devices[PLAN_DISKS_MAX];                   /* and their files */
    ino_t disk_inodes[PLAN_DISKS_MAX];
    unsigned last_node;  /* numbers for nodes and descriptor sets of snapshots */
    unsigned last_fdset; /* above QEMU_FDSET_FREE */
    bool loaded;         /* a restore: the device state is in, the virtual CPUs run */
    bool held;           /* a snapshot left it paused and its disks frozen */
    bool gone;
} Machine;

typedef struct Start {
    Connection *connection; /* borrowed; NULL once it is gone */
    LoopSource *silence_timer;
    LoopSource *ready_timer;
    Error error;                /* why it failed; told once QEMU is gone */
    bool heard;                 /* a console byte or an ANNOUNCE came */
    LinkStream *identity;       /* borrowed; while it is being applied */
    LinkStream *clock;          /* borrowed; while it is being set */
    bool named;                 /* the identity is applied */
    uint64_t qmp_id;            /* of qmp_capabilities */
    uint64_t load_ids[3];       /* of getfd, migrate-incoming, set_link; 0: not sent */
    struct {                    /* at one moment: what CLOCK tells */
        uint64_t greeted_usec;  /* the host's time when greeting and identity were sent */
        uint64_t realtime_usec; /* the host's time; 0: there was no WELCOME yet */
        uint64_t uptime_usec;   /* what the guest's own clock showed */
        uint64_t sent_usec;     /* the host's time when CLOCK was sent */
        unsigned rounds;
    } clock_pair;
    uint64_t answered_at_usec; /* the agent's first answer */
    uint64_t ready_at_usec;
} Start;

/* A child that becomes QEMU when it is told so (qemu/zygote.h). */
typedef struct KeeperChild {
    int socket; /* owned; -1: there is none, QEMU is spawned */
    pid_t pid;
} KeeperChild;

/* The agent's mailbox, while a restored guest becomes itself; mailbox.c. */
typedef struct Mailbox {
    GuestRam ram;      /* owned */
    uint64_t offset;   /* in it */
    size_t taken;      /* bytes of the agent's answers that the link has had */
    uint64_t since;    /* clock_monotonic_usec */
    LoopSource *timer; /* of the next look; NULL: it is not looked into */
} Mailbox;

struct Keeper {
    KeeperState state;
    Loop *loop; /* owned */
    Watched listener;
    KeeperChild child;
    uid_t starter;          /* who may talk to us, beside root */
    LoopSource *idle_timer; /* no start came */
    LoopSource *stop_timer;
    LoopSource *linger_timer;
    Connection *connections; /* owned, a list */
    Session *sessions;       /* owned, a list */
    Plan plan;
    const char *boot;   /* static: cold, restored or claimed */
    int vm_dir_fd;      /* owned */
    int memory_fd;      /* owned: the base that QEMU maps */
    Snapshot *snapshot; /* owned; NULL: none is being taken */
    uint64_t snapshots; /* so many were taken */
    Start start;
    Machine machine;
    Link link;
    LinkWelcome welcome; /* of the last greeting */
    Watched port;
    Mailbox mailbox;
    bool port_wants_out;
    uint64_t losses; /* how often the link was lost */
};

/* keeper.c */
int keeper_new(int listen_fd, const KeeperChild *child, Keeper *keeper, Error *error);
void keeper_free(Keeper *keeper);
const char *keeper_state_name(const Keeper *keeper);
void watched_close(Watched *watched);
int watched_add(Keeper *keeper, Watched *watched, uint32_t events, LoopFdHandler handler);

/* request.c: connections of the daemon. answer and fail end the request; what cannot be sent at
 * once ends the connection. Both take NULL for a connection that is gone. */
int request_listen(Keeper *keeper);
void request_answer(Connection *connection, json_t *ok); /* steals ok */
void request_fail(Connection *connection, const Error *error);
void request_event(Connection *connection, json_t *event); /* steals event */
void request_tell_watchers(Keeper *keeper, json_t *event); /* steals event */
void request_answer_waiting(Keeper *keeper);               /* QEMU is gone */
void request_close_all(Keeper *keeper);
void request_wait_for_end(Connection *connection);   /* it is answered once QEMU is gone */
void request_wait_for_start(Connection *connection); /* … once start or claim is over */
void request_wait_for_snapshot(Connection *connection);

/* start.c */
int start_begin(Keeper *keeper, Connection *connection, const json_t *request, const int *fds,
                size_t n_fds, Error *error);
void start_heard(Keeper *keeper);    /* the guest gave a sign of life; also restarts its silence */
void start_welcomed(Keeper *keeper); /* the link is up */
void start_fail(Keeper *keeper, Error *error); /* moves the error; kills QEMU */
void start_ended(Keeper *keeper);              /* QEMU is gone */
bool start_goes_on(const Keeper *keeper);      /* it is neither over nor lost */
void start_stage(Keeper *keeper, const char *name);
void start_awake(Keeper *keeper); /* the guest is itself */
void start_set_timers(Keeper *keeper);

/* wake.c: how a guest becomes itself; start_awake is called then, start_fail otherwise. greet: an
 * agent that was restored or stood still, with its identity behind the greeting. */
int wake_greet(Keeper *keeper, const uint8_t *marker, Error *error);
int wake_welcomed(Keeper *keeper, Error *error);

/* restore.c */
int restore_send_ahead(Keeper *keeper, const int *fds, Error *error);
/* mailbox.c. post: greets the agent by its mailbox, or over the port when it is not there, and
 * looks for answers from then on; takes *ram over. take: looks now. */
int mailbox_post(Keeper *keeper, GuestRam *ram, Error *error);
void mailbox_take(Keeper *keeper);
void mailbox_stop(Keeper *keeper);
int restore_load(Keeper *keeper, const int *fds, Error *error);
int restore_stay_warm(Keeper *keeper, Error *error);
int restore_plug_cable(Keeper *keeper, Error *error);

/* claim.c: answers or fails the connection by itself once it has begun. */
int claim_begin(Keeper *keeper, Connection *connection, const json_t *request, Error *error);

/* snapshot.c. begin takes the descriptors (sets those that it took to -1) on success. */
int snapshot_begin(Keeper *keeper, Connection *connection, const json_t *request, int *fds,
                   size_t n_fds, Error *error);
void snapshot_connection_gone(Keeper *keeper, const Connection *connection);
void snapshot_ended(Keeper *keeper); /* QEMU is gone */
void snapshot_free(Keeper *keeper);

/* identity.c: the payload of IDENTITY. Returns its size or -E2BIG. */
ssize_t identity_write(const Keeper *keeper, uint8_t *buffer, size_t room);
void identity_add_clock(TlvWriter *writer, const Keeper *keeper); /* the fields of CLOCK, too */

/* payload.c: requests to the agent, from the daemon's JSON. Return the size. fallback: the path
 * when the request has none; NULL: it must have one. */
ssize_t payload_write_exec(const json_t *request, uint8_t *buffer, size_t room, Error *error);
ssize_t payload_write_path(const json_t *request, const char *fallback, uint8_t *buffer,
                           size_t room, Error *error);

/* done.c: what the agent's DONE says: 0 and its value (may be NULL), or an error of `kind` with the
 * agent's text, made fit for a terminal. */
int done_read(const Frame *frame, const char *what, ErrorKind kind, uint64_t *value, Error *error);

/* machine.c */
void machine_init(Machine *machine);
int machine_open_logs(Keeper *keeper, Error *error);
int machine_launch(Keeper *keeper, const int *fds, Error *error);
int machine_watch(Keeper *keeper, Error *error);
void machine_kill(Keeper *keeper, const char *cause);
void machine_take_events(Keeper *keeper); /* of QMP, after any call of it */
int machine_call(Keeper *keeper, const char *command, json_t *arguments, json_t **result,
                 Error *error);     /* steals the arguments */
void machine_drain(Keeper *keeper); /* reads what an ended QEMU left */
void machine_free(Keeper *keeper);

/* port.c */
int port_watch(Keeper *keeper);
void port_flush(Keeper *keeper); /* after anything was put into the link */
void port_drain(Keeper *keeper);
void port_free(Keeper *keeper);
extern const LinkHandlers port_handlers;

/* power.c */
int power_stop(Keeper *keeper, uint64_t timeout_usec, Error *error);
int power_pause(Keeper *keeper, Error *error);
int power_resume(Keeper *keeper, Error *error);

/* session.c. open takes the client's descriptor on success only. */
int session_open(Keeper *keeper, const char *operation, const json_t *request, int fd,
                 Error *error);
void session_pump_all(Keeper *keeper); /* the link has room again */
void session_finish(Keeper *keeper);   /* frees those that are over; at the end of a handler */
void session_end_all(Keeper *keeper, const Error *error);
void session_close_all(Keeper *keeper);
unsigned session_count(const Keeper *keeper);
bool session_has_owner(const Keeper *keeper);

/* end.c */
void end_begin(Keeper *keeper); /* QEMU is gone */
void end_check(Keeper *keeper); /* leave when everybody was told */

#endif
