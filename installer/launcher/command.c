/* folder-agent.exe: `FolderAgent.exe -X utf8 -m folder_agent ARGUMENTS`, for whoever types the command. It waits, and
   hands on the exit code. Another program, because sys.executable is what `service install` registers. */
#include <windows.h>
#include <wchar.h>

#define MOST 32768 /* characters: the limit of CreateProcessW */

static BOOL WINAPI stay(DWORD event)
{
    return event == CTRL_C_EVENT || event == CTRL_BREAK_EVENT; /* the agent has it, too, and ends in its own way */
}

/* What follows the program's own name in a command line (CommandLineToArgvW's rule for the first argument). */
static const wchar_t *arguments(const wchar_t *line)
{
    int quoted = 0;
    for (; *line && (quoted || (*line != L' ' && *line != L'\t')); line++)
        if (*line == L'"')
            quoted = !quoted;
    return line;
}

int wmain(void)
{
    static wchar_t agent[MOST], line[MOST];
    STARTUPINFOW startup = {sizeof startup};
    PROCESS_INFORMATION process;
    DWORD code = 127;
    DWORD length = GetModuleFileNameW(NULL, agent, MOST - 16);
    wchar_t *name = length ? wcsrchr(agent, L'\\') : NULL;
    if (!name)
        return 127;
    wcscpy(name + 1, L"FolderAgent.exe");
    if (_snwprintf(line, MOST, L"\"%ls\" -X utf8 -m folder_agent%ls", agent, arguments(GetCommandLineW())) < 0)
        return 127;
    SetConsoleCtrlHandler(stay, TRUE);
    if (!CreateProcessW(agent, line, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &process))
        return 127;
    WaitForSingleObject(process.hProcess, INFINITE);
    GetExitCodeProcess(process.hProcess, &code);
    return (int)code;
}
