/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_PROTO_AGENT_H
#define RAMET_PROTO_AGENT_H

/* The agent's protocol: what travels in frames on the virtio-serial port named AGENT_CHANNEL_NAME.
 * docs/protocols.md explains it; this is the list of numbers, and the only one. C library only.
 *
 * Greeting. The keeper sends a sync marker of 16 raw bytes and then a HELLO frame. The agent looks
 * for the marker in everything that it reads, drops what came before it (a half frame from before a
 * snapshot included), ends all streams of the old session, drops its own unsent output, sends the
 * HELLO's nonce as 16 raw bytes, and then a WELCOME frame. The keeper in turn drops everything
 * before that nonce. The session is the first four bytes of the nonce, little-endian.
 *
 * The marker is AGENT_MARKER until the first HELLO, which brings a random one (TAG_MARKER) for the
 * next time. A snapshot keeps it, so nobody else can make it up.
 *
 * One ANNOUNCE frame (session 0, stream 0) comes when the agent opens the port. A keeper greets at
 * once when it restores, else then; a later one means that the agent started anew. */

#include <stdint.h>

#define AGENT_CHANNEL_NAME "org.ramet.agent.0"
#define AGENT_PROTOCOL_VERSION 1
#define AGENT_MARKER "\xf5RAMET-SYNC-MK\xfa\x00" /* 16 bytes with its last NUL */
#define AGENT_MARKER_SIZE 16
#define AGENT_NONCE_SIZE 16

/* The credit of data that each stream starts with, both ways; WINDOW frames grant more. */
#define AGENT_WINDOW_BYTES (256u * 1024u)
#define AGENT_STREAMS_MAX 256
/* All arguments and variables of a command as fields. Linux takes 2 MiB in all (execve(2)). */
#define AGENT_EXEC_MAX (4u * 1024u * 1024u)

typedef enum FrameType {
    /* stream 0: the machine as a whole */
    FRAME_ANNOUNCE = 1, /* agent →: TAG_VERSION, TAG_AGENT_VERSION */
    FRAME_HELLO = 2,    /* → agent: TAG_NONCE, TAG_MARKER */
    FRAME_WELCOME = 3,  /* agent →: TAG_NONCE (echo), TAG_RAM_NONCE, TAG_COUNTER, TAG_VERSION,
                           TAG_AGENT_VERSION, TAG_UPTIME_USEC, TAG_REALTIME_USEC, TAG_INIT,
                           TAG_EXCLUSIVE */
    FRAME_PROGRAM = 4,  /* agent →: TAG_EXIT_CODE, TAG_REALTIME_USEC; after WELCOME, too */

    /* streams 1 …: one request each. The keeper opens a stream with a request frame and picks its
       number; the agent ends it with RESULT (or EXIT for an exec). Stream numbers are not used
       again before all of the others were. */
    FRAME_IDENTITY = 16, /* make this clone itself: see TAG_ list below; RESULT when all is applied.
                            TAG_REALTIME_USEC with TAG_UPTIME_USEC: it was that late when the
                            agent's clock (of WELCOME) was at that; without: it is that late now.
                            Disks that a snapshot froze may still be frozen. RESULT's TAG_VALUE:
                            when, by the guest's clocks, its uptime was 0, in us; none: it took
                            a while, and does not say. TAG_EXCLUSIVE: until it was applied */
    FRAME_CLOCK = 17, /* TAG_REALTIME_USEC, TAG_UPTIME_USEC as above: step the clock when it is off
                         by over TAG_LIMIT_USEC. RESULT's TAG_VALUE: CLOCK_REALTIME in us */
    FRAME_EXEC = 18, /* TAG_ARG+, TAG_ENV*, TAG_DIRECTORY, TAG_USER, TAG_TTY, TAG_ROWS, TAG_COLUMNS,
                        TAG_FLAGS (ExecFlags);
                        or TAG_REQUEST_BYTES alone: these fields are that many bytes, which follow
                        as DATA; what the command reads comes behind them */
    FRAME_COPY_IN = 19, /* TAG_PATH, TAG_FLAGS: a tar stream follows as DATA … EOF, then RESULT */
    FRAME_COPY_OUT = 20,  /* TAG_PATH, TAG_FLAGS: a tar stream comes as DATA … EOF, then RESULT */
    FRAME_FS_RESIZE = 21, /* TAG_PATH: grow the file system mounted there to its device */
    FRAME_SYNC = 22,      /* sync(2) */
    FRAME_FREEZE = 23,    /* FIFREEZE all file systems on disks, and let nobody but the agent run.
                             TAG_VALUE: the mailbox's physical address, if there is one.
                             TAG_EXCLUSIVE; without it TAG_TEXT says why others may run */
    FRAME_THAW = 24,      /* undo both */
    FRAME_POWER_OFF = 25, /* TAG_REBOOT: orderly end; RESULT, then the machine goes. TAG_SIGNAL: to
                             the program first, whose end is waited for as long as TAG_LIMIT_USEC */
    FRAME_READ = 27,      /* TAG_PATH: a byte of ReadKind and then the file's content, or the folder
                             as tar, comes as DATA … EOF, then RESULT */
    FRAME_WRITE = 28,     /* TAG_PATH, TAG_MODE, TAG_SIZE: content as DATA … EOF, then RESULT */
    FRAME_STAT = 29,      /* TAG_PATH: TAG_STAT_… fields come as DATA … EOF, then RESULT */
    FRAME_CONNECT = 30,   /* TAG_PORT, TAG_LIMIT_USEC: TCP to 127.0.0.1, ::1. DATA, EOF, RESULT */
    FRAME_PING = 26,      /* RESULT at once; TAG_VALUE: the guest's CLOCK_REALTIME in us */
    /* within a stream */
    FRAME_DATA = 48,     /* stdin → agent; stdout or tar agent → */
    FRAME_DATA_ERR = 49, /* stderr agent → */
    FRAME_EOF = 50,      /* no more DATA in this direction */
    FRAME_EOF_ERR = 51,
    FRAME_WINDOW = 52,     /* u32: so many more bytes may be sent (both outputs share one credit) */
    FRAME_TTY_RESIZE = 53, /* → agent: TAG_ROWS, TAG_COLUMNS */
    FRAME_SIGNAL = 54,     /* → agent: TAG_SIGNAL: to the process group */
    FRAME_CANCEL = 55, /* → agent: the other end went away: SIGHUP then SIGKILL, no more frames */
    FRAME_EXIT = 56,   /* agent →: TAG_EXIT_CODE (128 + n for signal n), after both EOFs */
    FRAME_RESULT = 57, /* agent →: TAG_ERRNO (0 = success) and TAG_TEXT (what failed), TAG_VALUE,
                           TAG_EXCLUSIVE, TAG_NOTE, TAG_SSH_KEYS (the host key is taken) */

    /* client ↔ keeper only (docs/protocols.md, "The client's stream") */
    FRAME_EVENT = 80, /* → client: a JSON object: a stage, a state */
    FRAME_ERROR = 81, /* → client: {"error":…}; the stream ends */
    FRAME_READY = 82, /* → client: the VM as JSON; the command starts */
} FrameType;
#define FREEZE_NOT_DISKS 1u

typedef enum ExecFlags {
    EXEC_PROGRAM = 1, /* it is what the machine is for: POWER_OFF's signal is for it */
    EXEC_CONSOLE = 2, /* its output goes to the console, and it reads nothing */
} ExecFlags;

/* A page of the agent's memory, from FREEZE on. While it begins with the marker that the agent
 * listens for, nobody but the agent runs, and it takes the next greeting, and what follows it,
 * instead of the port: `bytes` is written first, `size` after it. A keeper that sets
 * `wants_answers` before finds here what the agent answers at once: `answers` is written first, and
 * then `answered`, which only grows. What does not fit, and all that comes later, goes through the
 * port. Numbers are little-endian. */
#define AGENT_MAILBOX_SIZE 4096u
#define AGENT_MAILBOX_ANSWERS 1024u

typedef struct AgentMailbox {
    uint8_t marker[AGENT_MARKER_SIZE];
    uint32_t size; /* 0: empty */
    uint8_t bytes[AGENT_MAILBOX_SIZE - AGENT_MARKER_SIZE - 12 - AGENT_MAILBOX_ANSWERS];
    uint32_t wants_answers;
    uint32_t answered;
    uint8_t answers[AGENT_MAILBOX_ANSWERS];
} AgentMailbox;

typedef enum AgentTag {
    TAG_VERSION = 1,   /* u64 AGENT_PROTOCOL_VERSION */
    TAG_AGENT_VERSION, /* text: ramet's version */
    TAG_NONCE,         /* 16 bytes */
    TAG_MARKER,        /* 16 bytes: the sync marker of the next greeting */
    TAG_RAM_NONCE,     /* 16 bytes, drawn when the agent started, kept only in its memory */
    TAG_COUNTER,       /* u64: greetings since the agent started, this one included */
    TAG_UPTIME_USEC,   /* u64 */
    TAG_REALTIME_USEC, /* u64 */
    TAG_INIT,          /* u64: 1 when the agent is PID 1 */
    TAG_LIMIT_USEC,    /* u64 */
    TAG_ARG,           /* text, several */
    TAG_ENV,           /* text "K=V", several */
    TAG_DIRECTORY,     /* text */
    TAG_USER,          /* text: name or number, optionally ":group" */
    TAG_TTY,           /* u64: 1: a pseudo terminal; stderr comes with stdout then */
    TAG_ROWS,          /* u64 */
    TAG_COLUMNS,       /* u64 */
    TAG_PATH,          /* text */
    TAG_FLAGS,         /* u64 CopyFlags */
    TAG_REBOOT,        /* u64 */
    TAG_SIGNAL,        /* u64 signal number of Linux x86-64 */
    TAG_EXIT_CODE,     /* u64 */
    TAG_ERRNO,         /* u64 */
    TAG_TEXT,          /* text */
    TAG_VALUE,         /* u64 */
    TAG_EXCLUSIVE,     /* u64: 1: since the FREEZE nobody but the agent has run */
    TAG_NOTE,          /* text: of a success, what the user should know of it */
    /* files */
    TAG_MODE = 40,      /* u64: permissions of a new file; absent: 0644 */
    TAG_SIZE = 42,      /* u64: of what follows, so that what is cut off is no file */
    TAG_STAT_MODE = 48, /* u64, as in stat(2), and so are the others; links are not followed */
    TAG_STAT_SIZE,
    TAG_STAT_UID,
    TAG_STAT_GID,
    TAG_STAT_MTIME_USEC, /* two's complement: before 1970 it is negative */
    TAG_STAT_TARGET,     /* bytes: where a link leads */
    /* keeper → client, in EXIT */
    TAG_TIMED_OUT = 56, /* u64: TimedOut */
    /* identity */
    TAG_HOSTNAME = 64,  /* text */
    TAG_MACHINE_ID,     /* text: 32 hexadecimal digits */
    TAG_BOOT_ID,        /* text: a UUID for /proc/sys/kernel/random/boot_id; absent: leave it */
    TAG_ENTROPY,        /* 64 bytes for the kernel's RNG */
    TAG_MAC,            /* 6 bytes; absent: no network card */
    TAG_IPV4,           /* 4 bytes */
    TAG_IPV4_PREFIX,    /* u64 */
    TAG_IPV4_GATEWAY,   /* 4 bytes */
    TAG_DNS,            /* 4 bytes, several */
    TAG_SSH_KEYS,       /* u64: 1: new SSH host keys where the image has them */
    TAG_HOOKS,          /* u64: 1: run /etc/ramet/clone.d */
    TAG_RESIZE_ROOT,    /* u64: 1: grow the root file system to its disk */
    TAG_SSH_KEY,        /* text: the host key's private part, a line; absent: the guest makes it */
    TAG_SSH_PUBLIC_KEY, /* text: the public part, a line */
    TAG_GENERATION,     /* 16 bytes: for /run/ramet/generation */
    TAG_IPV6,           /* 16 bytes */
    TAG_IPV6_PREFIX,    /* u64 */
    TAG_IPV6_GATEWAY,   /* 16 bytes */
    TAG_SEARCH,         /* text: the domain of names without dots */
    TAG_CARD,           /* such fields of a further card; several, in order */
    TAG_HOME_KEY,       /* text: a line for authorized_keys where there is an SSH server */
    TAG_LOGINS,         /* text: lines for it anyway */
    TAG_LOGIN_USER,     /* text: who has them beside root */
    TAG_CHANGED_DISK,   /* text "SERIAL,ro,PATH": that disk is another one than before */
    TAG_MOUNT,          /* text "SERIAL,rw|ro,PATH": mount it; several */
    TAG_CMDLINE,        /* text: what /proc/cmdline is to say; where the guest waits only */
    TAG_PORT = 127,     /* u64: 1 … 65535 */
    TAG_REQUEST_BYTES = 128, /* u64, at most AGENT_EXEC_MAX */
} AgentTag;

typedef enum ReadKind { READ_FILE = 'f', READ_FOLDER = 'd' } ReadKind; /* READ's first byte */

/* Why the exit status is 124: its time was over, and it was ended, or the guest does not say so. */
typedef enum TimedOut { TIMED_OUT_ENDED = 1, TIMED_OUT_SILENT = 2 } TimedOut;

/* COPY_IN: TAG_PATH is where the single top-level entry of the archive goes; an archive of "." is
 * the contents of a folder. COPY_OUT: TAG_PATH is what it holds; "folder/." its contents. */
typedef enum CopyFlags {
    COPY_INTO_FOLDER = 1, /* PATH was written with a trailing '/': it must be a folder */
    COPY_EXTRACT = 2,     /* an archive of anybody's: all its entries go into the folder PATH */
    COPY_FOLLOW = 4,      /* COPY_OUT: what symbolic links lead to is copied, not the links */
} CopyFlags;

#endif
