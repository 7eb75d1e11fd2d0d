/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CLI_TERMINAL_H
#define RAMET_CLI_TERMINAL_H

#include <stdbool.h>
#include <termios.h>

#include "base/error.h"

/* Raw mode of a terminal, given back when the variable leaves its scope. */
typedef struct Terminal {
    int fd; /* borrowed; -1: nothing to restore */
    struct termios saved;
} Terminal;
#define TERMINAL_INIT ((Terminal){.fd = -1})

/* Passes every key on; terminal_restore undoes it, and does nothing when it was not done. */
int terminal_make_raw(Terminal *terminal, int fd, Error *error);
void terminal_restore(Terminal *terminal);
#define _cleanup_terminal_ _cleanup_(terminal_restore)

/* 24 x 80 when fd does not know. */
void terminal_size(int fd, unsigned *rows, unsigned *columns);

#endif
