/* backup.h -- a copy of a file that keeps its holes */
#ifndef API_TOOLS_BACKUP_H
#define API_TOOLS_BACKUP_H

/* Copies `from` to the new file `to`, durably; progress on a terminal. 0; else it was said what is wrong, after `command`,
 * and there is no `to` but one that was there before. */
int backup_file(const char *command, const char *from, const char *to);

#endif
