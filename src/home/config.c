/* SPDX-License-Identifier: Apache-2.0 */

/* Settings of a home: HOME/config.json, and the environment above it.
 *
 *   {"uid_range": "600000000:65536"}      RAMET_UID_RANGE: first uid and count of the users that
 * VMs run as when the daemon is root
 *
 *   {"silence_timeout_s": 240}            RAMET_SILENCE_TIMEOUT_S: a guest whose console says
 * nothing for so long while it boots is stuck
 *   {"ready_timeout_s": 900}              RAMET_READY_TIMEOUT_S: bound on a whole boot
 *
 *   {"hot_memory_bytes": N}               RAMET_HOT_MEMORY (512M, 4G): what sealed memory bases may
 * take; a quarter of the host's memory when absent
 *   {"pool_memory_bytes": N}              RAMET_POOL_MEMORY: what warm clones of pools may take; a
 * quarter of the host's memory when absent
 *   {"boot_cache": false}                 RAMET_BOOT_CACHE (on, off): whether first starts are
 * forked from it
 *   {"adopt": false}                      RAMET_ADOPT (on, off): whether a VM maps the memory of
 * its snapshot afterwards
 *   {"zygote": false}                     RAMET_ZYGOTE (on, off): whether QEMUs are forked off one
 * (docs/zygote.md)
 *
 *   {"cgroup": "/sys/fs/cgroup/vms"}      RAMET_CGROUP: folder of cgroup v2 below which limits of
 * VMs are kept (docs/limits.md)
 *
 * The default range lies above what useradd, subuid(5) and systemd's dynamic and container ranges
 * give out (systemd: docs/UIDS-GIDS.md). */

#include "home/config.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "home/inside.h"

#define UID_RANGE_DEFAULT "600000000:65536"
#define CONFIG_MAX_BYTES (64 * 1024)
#define UID_FIRST_MIN 1000

static int parse_range(const char *text, uint32_t *first, uint32_t *count) {
    _cleanup_free_ char *copy = str_copy(text);
    char *colon = strchr(copy, ':');
    uint64_t a, n;
    if (!colon)
        return -EINVAL;
    *colon = '\0';
    if (parse_u64(copy, UINT32_MAX - 1, &a) < 0 || parse_u64(colon + 1, UINT32_MAX - 1, &n) < 0)
        return -EINVAL;
    if (a < UID_FIRST_MIN || n == 0 || a + n >= UINT32_MAX)
        return -EINVAL;
    *first = (uint32_t)a;
    *count = (uint32_t)n;
    return 0;
}

static int read_config(const Home *home, json_t **config, Error *error) {
    _cleanup_free_ char *text = NULL;
    size_t size;
    int r = fd_read_file_at(home->home_fd, "config.json", CONFIG_MAX_BYTES, &text, &size);
    if (r == -ENOENT) {
        *config = json_object();
        return 0;
    }
    if (r < 0)
        return error_set_errno(error, -r, "cannot read %s/config.json", home->path);
    return json_parse("config.json", text, size, config, error);
}

static int read_seconds(const json_t *config, const char *key, const char *variable, uint64_t *usec,
                        Error *error) {
    const char *text = getenv(variable);
    uint64_t seconds = 0;
    int r = json_opt_u64("config.json", config, key, &seconds, error);
    if (r < 0)
        return r;
    if (text && *text && parse_u64(text, UINT32_MAX, &seconds) < 0)
        return error_set(error, ERROR_USAGE, EINVAL, "%s is no number of seconds", variable);
    if (seconds > UINT32_MAX)
        return error_set(error, ERROR_USAGE, EINVAL, "%s is too large", key);
    *usec = seconds * USEC_PER_SEC;
    return 0;
}

static int read_hot_memory(const json_t *config, uint64_t *bytes, Error *error) {
    const char *text = getenv("RAMET_HOT_MEMORY");
    uint64_t found = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 4;
    int r = json_opt_u64("config.json", config, "hot_memory_bytes", &found, error);
    if (r < 0)
        return r;
    if (text && *text && parse_size(text, &found) < 0)
        return error_set(error, ERROR_USAGE, EINVAL, "RAMET_HOT_MEMORY is no size");
    *bytes = found;
    return 0;
}

/* Warm clones are not the only ones that want memory: a quarter of it. */
static int read_pool_memory(const json_t *config, uint64_t *bytes, Error *error) {
    const char *text = getenv("RAMET_POOL_MEMORY");
    uint64_t found = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 4;
    int r = json_opt_u64("config.json", config, "pool_memory_bytes", &found, error);
    if (r < 0)
        return r;
    if (text && *text && parse_size(text, &found) < 0)
        return error_set(error, ERROR_USAGE, EINVAL, "RAMET_POOL_MEMORY is no size");
    *bytes = found;
    return 0;
}

/* *on is what holds unless somebody says otherwise. */
static int read_switch(const json_t *config, const char *key, const char *variable, bool *on,
                       Error *error) {
    const char *text = getenv(variable);
    bool found = *on;
    int r = json_opt_bool("config.json", config, key, &found, error);
    if (r < 0)
        return r;
    if (text && *text && !str_equal(text, "on") && !str_equal(text, "off"))
        return error_set(error, ERROR_USAGE, EINVAL, "%s is neither on nor off", variable);
    *on = text && *text ? str_equal(text, "on") : found;
    return 0;
}

static int read_cgroup(Home *home, const json_t *config, Error *error) {
    const char *path = getenv("RAMET_CGROUP");
    int r = 0;
    if (!path || !*path)
        r = json_opt_string("config.json", config, "cgroup", &path, error);
    if (r < 0 || !path || !*path)
        return r;
    if (*path != '/')
        return error_set(error, ERROR_USAGE, EINVAL, "the cgroup %.80s is no absolute path", path);
    home->cgroup = str_copy(path);
    return 0;
}

int config_load(Home *home, Error *error) {
    _cleanup_json_ json_t *config = NULL;
    const char *range = getenv("RAMET_UID_RANGE");
    home->boot_cache = home->use_zygote = home->adopt = true;
    int r = read_config(home, &config, error);
    if (r < 0)
        return r;
    if (!range || !*range) {
        range = UID_RANGE_DEFAULT;
        r = json_opt_string("config.json", config, "uid_range", &range, error);
        if (r < 0)
            return r;
    }
    if (parse_range(range, &home->uid_first, &home->uid_count) < 0) {
        error_set(error, ERROR_USAGE, EINVAL, "%.40s is no range of users", range);
        error_set_hint(error, "write FIRST:COUNT with FIRST above 999, such as " UID_RANGE_DEFAULT);
        return -EINVAL;
    }
    if (geteuid() != 0)
        home->uid_count = 0;
    r = read_seconds(config, "silence_timeout_s", "RAMET_SILENCE_TIMEOUT_S",
                     &home->silence_timeout_usec, error);
    if (r < 0)
        return r;
    r = read_seconds(config, "ready_timeout_s", "RAMET_READY_TIMEOUT_S", &home->ready_timeout_usec,
                     error);
    if (r >= 0)
        r = read_hot_memory(config, &home->hot_budget_bytes, error);
    if (r >= 0)
        r = read_pool_memory(config, &home->pool_budget_bytes, error);
    if (r >= 0)
        r = read_cgroup(home, config, error);
    if (r >= 0)
        r = read_switch(config, "boot_cache", "RAMET_BOOT_CACHE", &home->boot_cache, error);
    if (r >= 0)
        r = read_switch(config, "adopt", "RAMET_ADOPT", &home->adopt, error);
    return r < 0 ? r : read_switch(config, "zygote", "RAMET_ZYGOTE", &home->use_zygote, error);
}
