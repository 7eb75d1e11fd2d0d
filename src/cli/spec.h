/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_SPEC_H
#define RAMET_CLI_SPEC_H

/* The options that `run` and `create` share, and the specification made of them. */

#include "cli/args.h"

/* Of all verbs that start VMs. */
#define WAIT_OPTIONS                                                                  \
    {0, "wait-for", ARG_TEXT, "CMD",                                                  \
     .help = "return once CMD, a shell's line, succeeds in the guest"},               \
    {                                                                                 \
        0, "wait-timeout", ARG_NUMBER, "SECONDS",                                     \
            .min = 1, .max = 86400, .help = "how long --wait-for tries (default 300)" \
    }

/* Puts them into a request. */
void wait_from_args(const Args *args, json_t *request);

/* Of all verbs that make VMs, and of update. */
#define POLICY_OPTIONS                                                                        \
    {0, "ttl", ARG_DURATION, .max = API_MSEC_MAX, .help = "stop it after so long; 0: never"}, \
        {0, "restart", ARG_TEXT, "POLICY",                                                    \
         .help = "start it again after its end: no (default), on-failure[:N], always"},       \
    {                                                                                         \
        0, "idle-standby", ARG_DURATION,                                                      \
            .max = API_MSEC_MAX,                                                              \
            .help = "put it into standby when it was idle for so long; 0: never"              \
    }

/* Puts them into a request, those that were given. */
void policy_from_args(const Args *args, json_t *request);

/* Of all verbs that make VMs, and of update. */
#define LIMIT_OPTIONS                                                                            \
    {0, "cpu-limit", ARG_TEXT, "CPUS",                                                           \
     .help = "CPUs of the host that it may use, such as 0.5; 0: no limit"},                      \
        {0, "memory-limit", ARG_TEXT, "SIZE",                                                    \
         .help = "memory of the host that its processes may use; 0: no limit"},                  \
        {0,       "pids-limit",     ARG_NUMBER,                                                  \
         "COUNT", .max = INT32_MAX, .help = "threads that its processes may have; 0: no limit"}, \
    {                                                                                            \
        0, "io-limit", ARG_TEXT, "LIMITS",                                                       \
            .help = "of each disk, a second: bytes=SIZE,ops=COUNT; 0: no limit"                  \
    }

/* Puts them into a request, those that were given. */
void limits_from_args(const Args *args, json_t *request);

#define CONFIG_DISK_OPTION(help_) \
    { 0, "config-disk", ARG_FILE, "FILE|DIR", .help = (help_) }

#define SPEC_OPTIONS                                                                               \
    {0, "name", ARG_NAME, .help = "name of the VM; one is made up when absent"},                   \
        {'m',                                                                                      \
         "memory",                                                                                 \
         ARG_SIZE,                                                                                 \
         .help = "memory of the VM",                                                               \
         .min = MIB,                                                                               \
         .max = API_MEMORY_MAX,                                                                    \
         .aliases = "mem|ram"},                                                                    \
        {'c',                                                                                      \
         "cpus",                                                                                   \
         ARG_NUMBER,                                                                               \
         .help = "virtual CPUs",                                                                   \
         .min = 1,                                                                                 \
         .max = API_CPUS_MAX,                                                                      \
         .aliases = "cpu|vcpus"},                                                                  \
        {0,                                                                                        \
         "disk",                                                                                   \
         ARG_SIZE,                                                                                 \
         .help = "size of the disk, at least the image's; the file system "                        \
                 "grows with it",                                                                  \
         .min = MIB,                                                                               \
         .max = API_DISK_MAX,                                                                      \
         .aliases = "disk-size"},                                                                  \
        {0,                                                                                        \
         "network",                                                                                \
         ARG_NETWORK,                                                                              \
         .many = true,                                                                             \
         .aliases = "net",                                                                         \
         .help =                                                                                   \
             "user[,allow-host] (default), none, or NAME[,ip=ADDRESS][,mac=MAC]; for each card"},  \
        {0, "seed", ARG_SEED_PLACE, .many = true,                                                  \
         .help = "a disk of its own over the seed, mounted at PATH"},                              \
        {0, "volume", ARG_VOLUME_PLACE, .many = true,                                              \
         .help = "the volume, mounted at PATH; ro: only to read"},                                 \
        CONFIG_DISK_OPTION(                                                                        \
            "a disk of its own that it only reads, at /media/config: a raw file, or "              \
            "made of a folder"),                                                                   \
        {0, "net-limit", ARG_TEXT, "LIMITS",                                                       \
         .help = "of each card in a network: in=RATE,out=RATE,packets=N,"                          \
                 "connections=N"},                                                                 \
        {'p',                                                                                      \
         "publish",                                                                                \
         ARG_FORWARD,                                                                              \
         .many = true,                                                                             \
         .aliases = "port|ports",                                                                  \
         .help = "lead a port of this host to the VM; IP is 127.0.0.1 when absent"},               \
        {0,      "ssh-key",    ARG_TEXT,                                                           \
         "FILE", .many = true, .help = "public key that may log in to it, beside the home's"},     \
        {0, "hostname", ARG_TEXT, .help = "host name in the VM; made of its name when absent"},    \
        {0, "machine", ARG_CHOICE, .choices = "microvm",                                           \
         .help = "boot a disk that has a boot loader directly by the kernel that it brings"},      \
        {'l', "label", ARG_LABEL, .many = true, .help = "label, by which ps --filter finds it"}, { \
        'e', "env", ARG_ENV,                                                                       \
            .many = true,                                                                          \
            .help = "variable for the commands in the VM; K alone takes the caller's value"        \
    }

/* Puts what --publish says, as forwards, into a request; nothing when it was not given. */
void spec_add_forwards(json_t *request, const Args *args);

/* The same of --network. */
void spec_add_networks(json_t *request, const Args *args);

/* Puts the keys that --ssh-key names into a request. Of a private key's file it is the one beside
 * it that ends in .pub. */
int spec_add_ssh_keys(json_t *request, const Args *args, Error *error);

/* The same of --config-disk, whose path becomes absolute. ERROR_NOT_FOUND when it is not there. */
int spec_add_config_disk(json_t *request, const Args *args, Error *error);

/* What of the options is read or looked at here: --ssh-key and --config-disk. */
int spec_add_files(json_t *request, const Args *args, Error *error);

/* The request for args, without those files; the caller owns it. */
json_t *spec_from_args(const Args *args, bool start);

#endif
