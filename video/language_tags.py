"""Language tags of containers and file names as ISO 639 codes."""

ISO_639_1 = (
    "aa:aar ab:abk ae:ave af:afr ak:aka am:amh an:arg ar:ara as:asm av:ava ay:aym az:aze ba:bak be:bel bg:bul bi:bis bm:bam "
    "bn:ben bo:bod,tib br:bre bs:bos ca:cat ce:che ch:cha co:cos cr:cre cs:ces,cze cu:chu cv:chv cy:cym,wel da:dan "
    "de:deu,ger dv:div dz:dzo ee:ewe el:ell,gre en:eng eo:epo es:spa et:est eu:eus,baq fa:fas,per,pes ff:ful fi:fin fj:fij "
    "fo:fao fr:fra,fre fy:fry ga:gle gd:gla gl:glg gn:grn gu:guj gv:glv ha:hau he:heb,iw hi:hin ho:hmo hr:hrv,scr ht:hat "
    "hu:hun hy:hye,arm hz:her ia:ina id:ind,in ie:ile ig:ibo ii:iii ik:ipk io:ido is:isl,ice it:ita iu:iku ja:jpn,jp jv:jav "
    "ka:kat,geo kg:kon ki:kik kj:kua kk:kaz kl:kal km:khm kn:kan ko:kor kr:kau ks:kas ku:kur kv:kom kw:cor ky:kir la:lat "
    "lb:ltz lg:lug li:lim ln:lin lo:lao lt:lit lu:lub lv:lav mg:mlg mh:mah mi:mri,mao mk:mkd,mac ml:mal mn:mon mr:mar "
    "ms:msa,may,zsm mt:mlt my:mya,bur na:nau nb:nob nd:nde ne:nep ng:ndo nl:nld,dut nn:nno no:nor nr:nbl nv:nav ny:nya "
    "oc:oci oj:oji om:orm or:ori os:oss pa:pan pi:pli pl:pol ps:pus pt:por,pob qu:que rm:roh rn:run ro:ron,rum,mo ru:rus "
    "rw:kin sa:san sc:srd sd:snd se:sme sg:sag si:sin sk:slk,slo sl:slv sm:smo sn:sna so:som sq:sqi,alb sr:srp,scc ss:ssw "
    "st:sot su:sun sv:swe sw:swa ta:tam te:tel tg:tgk th:tha ti:tir tk:tuk tl:tgl tn:tsn to:ton tr:tur ts:tso tt:tat tw:twi "
    "ty:tah ug:uig uk:ukr ur:urd uz:uzb ve:ven vi:vie vo:vol wa:wln wo:wol xh:xho yi:yid,ji yo:yor za:zha "
    "zh:zho,chi,cmn,chs,cht zu:zul"
)
"""ISO 639-1 codes, each with its codes in ISO 639-2, and further tags that subtitle files use for the language."""
CODES = {tag: pair.split(":")[0] for pair in ISO_639_1.split() for tag in pair.replace(":", ",").split(",")}
"""ISO 639-1 code of each tag."""
NO_LANGUAGE = frozenset({"und", "mis", "mul", "zxx"})
"""Codes of ISO 639-2 for an undetermined, uncoded, mixed or absent language."""


def language_code(tag: str) -> str | None:
    """Return the ISO 639-1 code of a language tag, such as "ger", "kor", "pt-BR" or "zh-Hant".

    A language without such a code keeps its code of three letters; None stands for an unknown language and for any other text.
    """
    language = tag.strip().lower().replace("_", "-").split("-", 1)[0]
    if language in CODES:
        return CODES[language]
    is_code = len(language) == 3 and language.isascii() and language.isalpha()
    return language if is_code and language not in NO_LANGUAGE else None
