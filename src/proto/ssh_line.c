/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/ssh_line.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"

/* The names of RFC 4253 and those of OpenSSH: "ssh-ed25519", "ecdsa-sha2-nistp256",
 * "sk-ssh-ed25519@openssh.com". */
static bool is_type(const char *text, size_t size) {
    static const char *const begins[] = {"ssh-", "ecdsa-", "sk-"};
    for (size_t i = 0; i < ARRAY_SIZE(begins); i++)
        if (size < 64 && str_has_prefix(text, begins[i]))
            return true;
    return false;
}

static bool is_base64(const char *text, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = strspn(text, digits);
    while (n < size && text[n] == '=')
        n++;
    return n == size && size >= 32;
}

static bool is_comment(const char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    return true;
}

/* sshd(8): options stand before a key, with blanks only within quotes. */
static bool has_key_behind(const char *line) {
    for (const char *blank = strchr(line, ' '); blank; blank = strchr(blank + 1, ' '))
        if (is_type(blank + 1, strcspn(blank + 1, " ")))
            return true;
    return false;
}

int ssh_key_check_public(const char *line, Error *error) {
    size_t type = strcspn(line, " "), code;
    const char *rest = line[type] ? line + type + 1 : "";
    code = strcspn(rest, " ");
    if (strlen(line) <= SSH_AUTHORIZED_LINE_MAX && is_type(line, type) && is_base64(rest, code) &&
        is_comment(rest + code))
        return 0;
    error_set(error, ERROR_USAGE, EINVAL, "\"%.24s\" is no public SSH key", line);
    error_set_hint(error, has_key_behind(line)
                              ? "options are not taken: leave out what stands before the key's type"
                              : "ssh-keygen makes one; its file ends in .pub");
    return -EINVAL;
}
