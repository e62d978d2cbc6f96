/* FolderAgent.exe: loads the Python beside it and runs it as CPython's own launcher does (Programs/python.c), so that
   the service's process carries our name. PYTHON_DLL comes from the build, L"python3xx.dll". */
#include <windows.h>

int wmain(int argc, wchar_t **argv)
{
    HMODULE python = LoadLibraryExW(PYTHON_DLL, NULL, LOAD_LIBRARY_SEARCH_DEFAULT_DIRS);
    int (*run)(int, wchar_t **) = python ? (void *)GetProcAddress(python, "Py_Main") : NULL;
    return run ? run(argc, argv) : 127;
}
