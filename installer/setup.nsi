; The installer: pages, the program's files, shortcuts, the entry in "Apps". Settings, ledger, token and service are the
; work of folder_agent.installing, which this script calls step by step, so that they are tested without Windows.
;
; VERSION, PROGRAM (the folder to install), TARGET, SIZE (KiB) and COMPRESSION come from build.py.
Unicode true
Target amd64-unicode  ; the default is a 32-bit stub
SetCompressor ${COMPRESSION}
Name "folder-agent"
OutFile "${TARGET}"
RequestExecutionLevel admin
InstallDir "$PROGRAMFILES64\folder-agent"
ManifestSupportedOS all
ManifestDPIAware true
ManifestLongPathAware true
BrandingText "folder-agent ${VERSION}"
ShowInstDetails show
VIProductVersion "${VERSION}.0"
VIAddVersionKey "ProductName" "folder-agent"
VIAddVersionKey "ProductVersion" "${VERSION}"
VIAddVersionKey "FileVersion" "${VERSION}"
VIAddVersionKey "FileDescription" "folder-agent setup"
VIAddVersionKey "LegalCopyright" ""

!include MUI2.nsh
!include LogicLib.nsh
!include FileFunc.nsh
!include TextFunc.nsh
!include WordFunc.nsh
!include WinVer.nsh
!include x64.nsh

!define ENTRY "Software\Microsoft\Windows\CurrentVersion\Uninstall\folder-agent"
!define DATA "$APPDATA\folder-agent"
!define MENU "$SMPROGRAMS\folder-agent"

Var Previous       ; the version that is installed, or empty
Var Config
Var Drop
Var Url
Var AppId
Var Fingerprint
Var Token
Var TokenFile
Var Account
Var Password
Var PasswordFile
Var Purge
Var Log            ; the file
Var Code           ; of the last step
Var Output         ; of it, which is empty unless it crashed
Var Welcome
Var Field1
Var Field2
Var Field3
Var Field4

!define MUI_ABORTWARNING
!define MUI_CUSTOMFUNCTION_ABORT Cancelled
!define MUI_WELCOMEPAGE_TITLE "$(T_WELCOME)"
!define MUI_WELCOMEPAGE_TEXT "$Welcome"
!define MUI_PAGE_CUSTOMFUNCTION_PRE WelcomePre
!insertmacro MUI_PAGE_WELCOME
Page custom DropPage DropLeave
Page custom GatewayPage GatewayLeave
Page custom AccountPage AccountLeave
!insertmacro MUI_PAGE_INSTFILES
Page custom ResultPage
!insertmacro MUI_UNPAGE_CONFIRM
!insertmacro MUI_UNPAGE_INSTFILES
!insertmacro MUI_LANGUAGE "English"      ; the first one is for every other language
!insertmacro MUI_LANGUAGE "SimpChinese"
!include texts.nsh

; --- what installer and uninstaller share -----------------------------------------------------------------------------

!macro SHARED UN
Function ${UN}Begin
  SetRegView 64
  SetShellVarContext all
  InitPluginsDir
  ${GetParameters} $0
  ClearErrors
  ${GetOptions} $0 "/LANG=" $1
  ${IfNot} ${Errors}
    StrCpy $1 $1 2  ; an uninstaller's own _?= may follow
    ${If} $1 == "zh"
      StrCpy $LANGUAGE ${LANG_SIMPCHINESE}
    ${Else}
      StrCpy $LANGUAGE ${LANG_ENGLISH}
    ${EndIf}
  ${Else}
    IntOp $1 $LANGUAGE & 0x3FF  ; LANG_CHINESE is 4, in whichever country
    ${If} $1 == 4
      StrCpy $LANGUAGE ${LANG_SIMPCHINESE}
    ${EndIf}
  ${EndIf}
  ClearErrors
  ${GetOptions} $0 "/LOG=" $Log
  ${If} ${Errors}
    StrCpy $Log "$TEMP\folder-agent-setup.log"
  ${EndIf}
  FileOpen $1 $Log w
  FileWriteWord $1 0xFEFF
  FileClose $1
  ReadRegStr $Previous HKLM "${ENTRY}" "DisplayVersion"
FunctionEnd

; A line for the details and the log, from the stack.
Function ${UN}Say
  Exch $R0
  Push $R1
  SetDetailsPrint both
  DetailPrint $R0
  SetDetailsPrint none  ; shortcuts and temporary files are no news
  FileOpen $R1 $Log a
  FileSeek $R1 0 END
  FileWriteUTF16LE $R1 "$R0$\r$\n"
  FileClose $R1
  Pop $R1
  Pop $R0
FunctionEnd

; One step of folder_agent.installing, from the stack: the folder of the program, then the step. Its code in $Code.
Function ${UN}Step
  Exch $R0  ; the folder
  Exch
  Exch $R1  ; the step
  Push $R2
  FileOpen $R2 "$PLUGINSDIR\answers" w
  FileWriteWord $R2 0xFEFF
  FileWriteUTF16LE $R2 "data=${DATA}$\r$\nlanguage=$(T_LANGUAGE)$\r$\nprevious=$Previous$\r$\n"
  FileWriteUTF16LE $R2 "config=$Config$\r$\ndrop=$Drop$\r$\nurl=$Url$\r$\napp_id=$AppId$\r$\n"
  FileWriteUTF16LE $R2 "fingerprint=$Fingerprint$\r$\ntoken=$Token$\r$\ntoken_file=$TokenFile$\r$\n"
  FileWriteUTF16LE $R2 "account=$Account$\r$\npassword=$Password$\r$\npassword_file=$PasswordFile$\r$\n"
  FileWriteUTF16LE $R2 "program=$INSTDIR\program$\r$\npurge=$Purge$\r$\n"
  FileClose $R2
  Delete "$PLUGINSDIR\report"
  nsExec::ExecToStack '"$R0\FolderAgent.exe" -X utf8 -m folder_agent.installing $R1 "$PLUGINSDIR\answers" "$PLUGINSDIR\report"'
  Pop $Code
  Pop $Output
  Delete "$PLUGINSDIR\answers"
  ${If} $Code == "error"
  ${OrIf} $Code == "timeout"
    StrCpy $Code 1
  ${EndIf}
  ClearErrors
  FileOpen $R2 "$PLUGINSDIR\report" r
  ${IfNot} ${Errors}
    ${Do}
      ClearErrors
      FileReadUTF16LE $R2 $R1
      ${If} ${Errors}
        ${Break}
      ${EndIf}
      ${TrimNewLines} $R1 $R1
      Push $R1
      Call ${UN}Say
    ${Loop}
    FileClose $R2
  ${Else}
    Push "$R1: $Code $Output"
    Call ${UN}Say
  ${EndIf}
  Pop $R2
  Pop $R1
  Pop $R0
FunctionEnd
!macroend
!insertmacro SHARED ""
!insertmacro SHARED "un."

!macro SAY UN TEXT
  Push "${TEXT}"
  Call ${UN}Say
!macroend
!define Say '!insertmacro SAY ""'

!macro STEP UN FOLDER NAME
  Push "${NAME}"
  Push "${FOLDER}"
  Call ${UN}Step
!macroend
!define Step '!insertmacro STEP ""'

; --- the installer ----------------------------------------------------------------------------------------------------

!macro OPTION NAME VARIABLE
  ClearErrors
  ${GetOptions} $0 "/${NAME}=" ${VARIABLE}
!macroend
!define Option "!insertmacro OPTION"

Function .onInit
  Call Begin
  ${GetParameters} $0
  ${Option} CONFIG $Config
  ${Option} DROP $Drop
  ${Option} URL $Url
  ${Option} APPID $AppId
  ${Option} FINGERPRINT $Fingerprint
  ${Option} TOKENFILE $TokenFile
  ${Option} ACCOUNT $Account
  ${Option} PASSWORDFILE $PasswordFile
  ${If} $Previous != ""
    ReadRegStr $1 HKLM "${ENTRY}" "InstallLocation"  ; the second time to where the first one was
    ${If} $1 != ""
      StrCpy $INSTDIR $1
    ${EndIf}
  ${EndIf}
FunctionEnd

; Whether this machine and what is installed on it allow this version: else say so, and end. Not in .onInit, where the
; language of texts is Windows' own, whatever was asked for.
Function Admit
  ${IfNot} ${RunningX64}
  ${OrIfNot} ${AtLeastWin8.1}
    ${Say} "$(T_WINDOWS)"
    MessageBox MB_ICONSTOP "$(T_WINDOWS)" /SD IDOK
    SetErrorLevel 1
    Quit
  ${EndIf}
  ${If} $Previous == ""
    Return
  ${EndIf}
  ${VersionCompare} $Previous "${VERSION}" $1
  ${If} $1 == 1
    ${Say} "$(T_DOWNGRADE)"
    MessageBox MB_ICONSTOP "$(T_DOWNGRADE)" /SD IDOK
    SetErrorLevel 3
    Quit
  ${EndIf}
FunctionEnd

Function Cancelled
  SetErrorLevel 1
FunctionEnd

Function WelcomePre
  Call Admit
  ${If} $Previous == ""
    StrCpy $Welcome "$(T_WELCOME_NEW)"
  ${Else}
    StrCpy $Welcome "$(T_WELCOME_UPGRADE)"
  ${EndIf}
FunctionEnd

; Whether pages have nothing to ask: there are settings already, or a file of them was given.
!macro SKIP_IF_KNOWN
  ${If} $Config != ""
  ${OrIf} ${FileExists} "${DATA}\folder-agent.toml"
    Abort
  ${EndIf}
!macroend

Function DropPage
  !insertmacro SKIP_IF_KNOWN
  !insertmacro MUI_HEADER_TEXT "$(T_DROP_TITLE)" "$(T_DROP_SUB)"
  nsDialogs::Create 1018
  Pop $0
  ${NSD_CreateLabel} 0 0 100% 12u "$(T_DROP_LABEL)"
  Pop $0
  ${NSD_CreateText} 0 14u 78% 13u "$Drop"
  Pop $Field1
  ${NSD_CreateButton} 80% 13u 20% 15u "$(T_BROWSE)"
  Pop $0
  ${NSD_OnClick} $0 DropBrowse
  ${NSD_CreateLabel} 0 38u 100% 80u "$(T_DROP_NOTE)"
  Pop $0
  ${NSD_SetFocus} $Field1
  nsDialogs::Show
FunctionEnd

Function DropBrowse
  Pop $0
  ${NSD_GetText} $Field1 $0
  nsDialogs::SelectFolderDialog "$(T_DROP_SUB)" $0
  Pop $0
  ${If} $0 != "error"
    ${NSD_SetText} $Field1 $0
    Call DropShare
  ${EndIf}
FunctionEnd

Function DropLeave
  ${NSD_GetText} $Field1 $Drop
  ${If} $Drop == ""
    MessageBox MB_ICONEXCLAMATION "$(T_DROP_EMPTY)"
    Abort
  ${EndIf}
  Call DropShare
  ${NSD_GetText} $Field1 $Drop
FunctionEnd

; Put the share in the place of a mapped drive, and say so; refuse a network drive without one. An administrator's
; elevated programs do not see his mapped drives; his profile tells of them all the same.
Function DropShare
  ${NSD_GetText} $Field1 $0
  StrCpy $1 $0 1 1
  ${If} $1 != ":"
    Return
  ${EndIf}
  StrCpy $1 $0 2
  System::Call 'mpr::WNetGetConnectionW(w r1, w .r2, *i 1024) i .r3'
  ${If} $3 != 0
    StrCpy $3 $0 1
    ReadRegStr $2 HKCU "Network\$3" "RemotePath"
  ${EndIf}
  StrCpy $3 $2 2
  ${If} $3 == "\\"
    StrCpy $3 $0 "" 2
    ${If} $3 == "\"
      StrCpy $3 ""
    ${EndIf}
    ${NSD_SetText} $Field1 "$2$3"
    MessageBox MB_ICONINFORMATION "$0 $(T_DROP_MAPPED)$\r$\n$2$3"
    Return
  ${EndIf}
  System::Call 'kernel32::GetDriveTypeW(w "$1\") i .r3'
  ${If} $3 == 4  ; DRIVE_REMOTE
    MessageBox MB_ICONEXCLAMATION "$1 $(T_DROP_UNKNOWN)"
    Abort
  ${EndIf}
FunctionEnd

Function GatewayPage
  !insertmacro SKIP_IF_KNOWN
  !insertmacro MUI_HEADER_TEXT "$(T_GATEWAY_TITLE)" "$(T_GATEWAY_SUB)"
  nsDialogs::Create 1018
  Pop $0
  ${NSD_CreateLabel} 0 0 100% 11u "$(T_URL_LABEL)"
  Pop $0
  ${NSD_CreateText} 0 12u 100% 13u "$Url"
  Pop $Field1
  ${NSD_CreateLabel} 0 31u 100% 11u "$(T_APPID_LABEL)"
  Pop $0
  ${NSD_CreateText} 0 43u 100% 13u "$AppId"
  Pop $Field2
  ${NSD_CreateLabel} 0 62u 100% 11u "$(T_TOKEN_LABEL)"
  Pop $0
  ${NSD_CreatePassword} 0 74u 100% 13u "$Token"
  Pop $Field3
  ${NSD_CreateLabel} 0 93u 100% 11u "$(T_FINGERPRINT_LABEL)"
  Pop $0
  ${NSD_CreateText} 0 105u 100% 13u "$Fingerprint"
  Pop $Field4
  ${NSD_SetFocus} $Field1
  nsDialogs::Show
FunctionEnd

Function GatewayLeave
  ${NSD_GetText} $Field1 $Url
  ${NSD_GetText} $Field2 $AppId
  ${NSD_GetText} $Field3 $Token
  ${NSD_GetText} $Field4 $Fingerprint
  ${If} $Url == ""
  ${OrIf} $AppId == ""
  ${OrIf} $Token$TokenFile == ""
    MessageBox MB_ICONEXCLAMATION "$(T_GATEWAY_EMPTY)"
    Abort
  ${EndIf}
FunctionEnd

Function AccountPage
  ${If} $Previous != ""  ; the service keeps its account
    Abort
  ${EndIf}
  !insertmacro MUI_HEADER_TEXT "$(T_ACCOUNT_TITLE)" "$(T_ACCOUNT_SUB)"
  nsDialogs::Create 1018
  Pop $0
  ${NSD_CreateRadioButton} 0 0 100% 12u "$(T_ACCOUNT_OWN)"
  Pop $Field1
  ${NSD_CreateRadioButton} 0 16u 100% 12u "$(T_ACCOUNT_OTHER)"
  Pop $Field2
  ${NSD_CreateText} 12u 32u 60% 13u "$Account"
  Pop $Field3
  ${NSD_CreateLabel} 12u 52u 90% 11u "$(T_PASSWORD_LABEL)"
  Pop $0
  ${NSD_CreatePassword} 12u 64u 60% 13u "$Password"
  Pop $Field4
  ${NSD_CreateLabel} 0 86u 100% 40u "$(T_ACCOUNT_NOTE)"
  Pop $0
  ${If} $Account == ""
    ${NSD_Check} $Field1
    ${NSD_SetFocus} $Field1
  ${Else}
    ${NSD_Check} $Field2
    ${NSD_SetFocus} $Field2
  ${EndIf}
  nsDialogs::Show
FunctionEnd

Function AccountLeave
  StrCpy $Account ""
  StrCpy $Password ""
  ${NSD_GetState} $Field2 $0
  ${If} $0 == ${BST_CHECKED}
    ${NSD_GetText} $Field3 $Account
    ${NSD_GetText} $Field4 $Password
    ${If} $Account == ""
      MessageBox MB_ICONEXCLAMATION "$(T_ACCOUNT_EMPTY)"
      Abort
    ${EndIf}
  ${EndIf}
FunctionEnd

Function ResultPage
  !insertmacro MUI_HEADER_TEXT "$(T_RESULT_TITLE)" "$(T_RESULT_SUB)"
  nsDialogs::Create 1018
  Pop $0
  nsDialogs::CreateControl EDIT "${DEFAULT_STYLES}|${WS_VSCROLL}|${ES_MULTILINE}|${ES_READONLY}|${ES_WANTRETURN}" ${WS_EX_CLIENTEDGE} 0 0 100% 112u ""
  Pop $Field1
  ClearErrors
  FileOpen $0 $Log r
  ${Do}
    ClearErrors
    FileReadUTF16LE $0 $1
    ${If} ${Errors}
      ${Break}
    ${EndIf}
    SendMessage $Field1 ${EM_REPLACESEL} 0 "STR:$1"
  ${Loop}
  FileClose $0
  ${NSD_CreateLabel} 0 116u 100% 22u "$(T_RESULT_NOTE)"
  Pop $0
  nsDialogs::Show
FunctionEnd

; Nothing was changed yet: take away what was unpacked, and end with the step's code.
Function GiveUp
  SetOutPath $TEMP  ; nobody can remove the folder that he is in
  RMDir /r "$INSTDIR\program.new"
  RMDir $INSTDIR
  ${Say} "$(T_FAILED)"
  SetErrorLevel $Code
  Abort "$(T_FAILED)"
FunctionEnd

; The program of before goes back to its place, if there was one, and works on.
Function GoBack
  RMDir /r "$INSTDIR\program"
  ClearErrors
  ${If} ${FileExists} "$INSTDIR\program.old\*.*"
    StrCpy $R9 $Code
    Rename "$INSTDIR\program.old" "$INSTDIR\program"
    ${Step} "$INSTDIR\program" "start"
    StrCpy $Code $R9
    ${Say} "$(T_BACK)"
  ${EndIf}
  Call GiveUp
FunctionEnd

Section
  SetDetailsPrint none
  ${If} ${Silent}
    Call Admit
  ${EndIf}
  SetOutPath "$INSTDIR"
  ${Say} "folder-agent ${VERSION}: $(T_UNPACKING)"
  RMDir /r "$INSTDIR\program.new"
  ${IfNot} ${FileExists} "$INSTDIR\program\*.*"
  ${AndIf} ${FileExists} "$INSTDIR\program.old\*.*"
    Rename "$INSTDIR\program.old" "$INSTDIR\program"  ; an upgrade was cut off between two renames
  ${EndIf}
  RMDir /r "$INSTDIR\program.old"
  SetOutPath "$INSTDIR\program.new"
  File /r "${PROGRAM}/*"
  SetOutPath "$INSTDIR"

  ${Say} "$(T_PREPARING)"
  ${Step} "$INSTDIR\program.new" "prepare"
  ${If} $Code != 0
    Call GiveUp
  ${EndIf}

  ClearErrors
  ${If} ${FileExists} "$INSTDIR\program\*.*"
    Rename "$INSTDIR\program" "$INSTDIR\program.old"
  ${EndIf}
  ${If} ${Errors}  ; Windows renames no folder with an open file in it
    ${Say} "$(T_IN_USE)"
    ${Step} "$INSTDIR\program" "start"
    StrCpy $Code 1
    Call GiveUp
  ${EndIf}
  Rename "$INSTDIR\program.new" "$INSTDIR\program"
  ${If} ${Errors}
    StrCpy $Code 1
    Call GoBack
  ${EndIf}

  ${Say} "$(T_CONFIGURING)"
  ${Step} "$INSTDIR\program" "configure"
  ${If} $Code != 0
    Call GoBack
  ${EndIf}
  Call Register
  ${Say} "$(T_STARTING)"
  ${Step} "$INSTDIR\program" "begin"
  ${If} $Code != 0
    SetErrorLevel $Code  ; installed all the same: what keeps it from starting is mended in place
  ${EndIf}
  RMDir /r "$INSTDIR\program.old"
  ${Say} "$(T_LOG) $Log"
SectionEnd

; The uninstaller, the entry in "Apps", the Start menu.
Function Register
  WriteUninstaller "$INSTDIR\uninstall.exe"
  WriteRegStr HKLM "${ENTRY}" "DisplayName" "folder-agent"
  WriteRegStr HKLM "${ENTRY}" "DisplayVersion" "${VERSION}"
  WriteRegStr HKLM "${ENTRY}" "Publisher" "folder-agent"
  WriteRegStr HKLM "${ENTRY}" "InstallLocation" "$INSTDIR"
  WriteRegStr HKLM "${ENTRY}" "DisplayIcon" "$INSTDIR\uninstall.exe"
  WriteRegStr HKLM "${ENTRY}" "UninstallString" '"$INSTDIR\uninstall.exe"'
  WriteRegStr HKLM "${ENTRY}" "QuietUninstallString" '"$INSTDIR\uninstall.exe" /S'
  WriteRegDWORD HKLM "${ENTRY}" "EstimatedSize" ${SIZE}
  WriteRegDWORD HKLM "${ENTRY}" "NoModify" 1
  WriteRegDWORD HKLM "${ENTRY}" "NoRepair" 1
  RMDir /r "${MENU}"
  CreateDirectory "${MENU}"
  ${If} ${FileExists} "$INSTDIR\program\console.url"
    CreateShortCut "${MENU}\$(T_MENU_CONSOLE).lnk" "$INSTDIR\program\console.url"
  ${EndIf}
  CreateShortCut "${MENU}\$(T_MENU_STATUS).lnk" "$SYSDIR\cmd.exe" '/k ""$INSTDIR\program\folder-agent.exe" status --lang $(T_LANGUAGE)"'
  CreateShortCut "${MENU}\$(T_MENU_COMMAND).lnk" "$SYSDIR\cmd.exe" '/k cd /d "$INSTDIR\program"'
  Push "${MENU}\$(T_MENU_STATUS).lnk"
  Call Elevate
  Push "${MENU}\$(T_MENU_COMMAND).lnk"
  Call Elevate
  CreateShortCut "${MENU}\$(T_MENU_LOGS).lnk" "${DATA}\logs"
  CreateShortCut "${MENU}\$(T_MENU_GUIDE).lnk" "$INSTDIR\program\ADMIN.$(T_LANGUAGE).html"
FunctionEnd

; Have a shortcut (its file, from the stack) ask for the administrator's rights, without which the settings cannot be
; read: SLDF_RUNAS_USER, bit 13 of the flags at byte 20 ([MS-SHLLINK] 2.1.1).
Function Elevate
  Exch $0
  Push $1
  FileOpen $0 $0 a
  FileSeek $0 21
  FileReadByte $0 $1
  IntOp $1 $1 | 0x20
  FileSeek $0 21
  FileWriteByte $0 $1
  FileClose $0
  Pop $1
  Pop $0
FunctionEnd

; --- the uninstaller --------------------------------------------------------------------------------------------------

Function un.onInit
  Call un.Begin
  ${GetParameters} $0
  ClearErrors
  ${GetOptions} $0 "/PURGE" $1
  ${IfNot} ${Errors}
    StrCpy $Purge 1
  ${EndIf}
FunctionEnd

Section Uninstall
  SetDetailsPrint none
  ${IfNot} ${Silent}
    MessageBox MB_YESNO|MB_ICONQUESTION "$(T_UN_KEEP)" IDYES kept
    StrCpy $Purge 1
    kept:
  ${EndIf}
  !insertmacro STEP "un." "$INSTDIR\program" "remove"
  ${If} $Code != 0
    !insertmacro SAY "un." "$(T_UN_FAILED)"
    MessageBox MB_ICONSTOP "$(T_UN_FAILED)" /SD IDOK
    SetErrorLevel $Code
    Abort "$(T_UN_FAILED)"
  ${EndIf}
  RMDir /r "$INSTDIR\program"
  RMDir /r "$INSTDIR\program.old"
  RMDir /r "$INSTDIR\program.new"
  Delete "$INSTDIR\uninstall.exe"
  RMDir $INSTDIR  ; only if it is empty: whatever else lies here is not ours
  RMDir /r "${MENU}"
  DeleteRegKey HKLM "${ENTRY}"
SectionEnd
