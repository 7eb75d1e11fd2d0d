/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/terminal.h"

#include <errno.h>
#include <sys/ioctl.h>

int terminal_make_raw(Terminal *terminal, int fd, Error *error) {
    struct termios raw;
    if (tcgetattr(fd, &terminal->saved) < 0)
        return error_set(error, ERROR_USAGE, errno, "standard input is no terminal");
    raw = terminal->saved;
    cfmakeraw(&raw);
    if (tcsetattr(fd, TCSADRAIN, &raw) < 0)
        return error_set_errno(error, errno, "cannot set the terminal to raw mode");
    terminal->fd = fd;
    return 0;
}

void terminal_restore(Terminal *terminal) {
    if (terminal->fd >= 0) /* at once: a terminal that takes no output would hold us back */
        (void)tcsetattr(terminal->fd, TCSANOW, &terminal->saved);
    terminal->fd = -1;
}

void terminal_size(int fd, unsigned *rows, unsigned *columns) {
    struct winsize size = {0};
    if (ioctl(fd, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 || size.ws_col == 0)
        size = (struct winsize){.ws_row = 24, .ws_col = 80};
    *rows = size.ws_row;
    *columns = size.ws_col;
}
