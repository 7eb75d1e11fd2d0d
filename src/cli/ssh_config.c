/* SPDX-License-Identifier: Apache-2.0 */
/* Ramet gives each VM its host key, so it is Ramet that ssh asks for it (KnownHostsCommand), by the
 * VM's id: a name may be given to another VM tomorrow, which then has another key. A key that came
 * about otherwise is remembered under the id when it is seen first. Of a VM that is not known yet
 * there is only a name, under which nothing is remembered. Nothing is lost by it: the connection
 * does not leave this host, and it is the daemon that finds the VM. */

#include "cli/ssh_config.h"

#include "cli/vm_host.h"

/* A clone's server reads its new keys and listens to nobody meanwhile; one in a VM that has just
 * booted may not have started yet. */
#define SERVER_SECONDS 10u

/* One word for the shell, and for ssh, which takes % as the beginning of a token. */
static void add_word(StrBuf *out, const char *text) {
    strbuf_add_text(out, "'");
    for (const char *p = text; *p; p++) {
        if (*p == '\'')
            strbuf_add_text(out, "'\\''");
        else if (*p == '%')
            strbuf_add_text(out, "%%");
        else
            strbuf_add(out, p, 1);
    }
    strbuf_add_text(out, "'");
}

/* A file for ssh itself, which has no way to write a '"' in one. */
static void add_file(StrBuf *out, const char *folder, const char *name) {
    strbuf_add_text(out, "\"");
    for (const char *p = folder; *p; p++)
        strbuf_add_text(out, *p == '%' ? "%%" : (const char[]){*p, '\0'});
    strbuf_add_format(out, "/%s\"", name);
}

static void add_program(const SshConfig *config, StrBuf *out) {
    for (size_t i = 0; config->env[i]; i++) {
        add_word(out, config->env[i]);
        strbuf_add_text(out, " ");
    }
    add_word(out, config->program);
}

/* KnownHostsCommand wants a whole path, and no shell reads it: ssh takes the words apart as a shell
 * would. */
static void add_connection(const SshConfig *config, StrBuf *out) {
    strbuf_add_text(out, "    User root\n    IdentityFile ");
    add_file(out, config->home, "ssh/id_ed25519");
    strbuf_add_text(out, "\n    IdentitiesOnly yes\n    KnownHostsCommand /usr/bin/env ");
    add_program(config, out);
    strbuf_add_text(out, " ssh-config --host-key %H\n    ProxyCommand ");
    if (config->env[0])
        strbuf_add_text(out, "env ");
    add_program(config, out);
    strbuf_add_format(out, " proxy --wait %u -- '%%n' %%p\n", SERVER_SECONDS);
}

void ssh_config_add_vm(const SshConfig *config, const char *name, const char *id, StrBuf *out) {
    strbuf_add_format(out, "Host %s" VM_HOST_SUFFIX "\n", name);
    strbuf_add_format(out, "    HostKeyAlias %s" VM_HOST_SUFFIX "\n", id);
    strbuf_add_text(out, "    UserKnownHostsFile ");
    add_file(out, config->home, "ssh_known_hosts");
    strbuf_add_text(out, "\n    StrictHostKeyChecking accept-new\n");
    add_connection(config, out);
}

void ssh_config_add_others(const SshConfig *config, StrBuf *out) {
    strbuf_add_text(out, "Host *" VM_HOST_SUFFIX "\n"
                         "    UserKnownHostsFile /dev/null\n"
                         "    StrictHostKeyChecking no\n"
                         "    LogLevel ERROR\n");
    add_connection(config, out);
}
