"""Spoken sentences in many languages, and the legacy encodings in which subtitle files store them."""

SENTENCES: dict[str, tuple[tuple[str, ...], str]] = {
    "ko": (
        ("cp949",),
        """
        지금 어디 가는 거야?|잠깐만 기다려, 금방 갈게.|아니요, 저는 그런 말을 한 적이 없습니다.|오늘 회의는 세 시에 시작합니다.
        정말 미안해, 내가 잘못했어.|그 사람은 벌써 떠났어요.|문을 닫고 조용히 해 주세요.|우리가 함께라면 할 수 있어.
        무슨 일이 있었는지 말해 봐.|이 영상에서는 새로운 기능을 소개합니다.|배가 고파 죽겠네.|어머니께서 전화하셨어.
        괜찮으세요? 많이 다치셨어요?|그건 내 책임이 아니야.|내일 아침 일찍 출발하자.|여러분, 안녕하세요. 반갑습니다.
        물은 백 도에서 끓습니다.|꿈을 꾼 것 같아.|왜 아무도 대답을 안 해?|고맙습니다, 다음에 또 봬요.""",
    ),
    "ja": (
        ("cp932",),
        """
        どこへ行くつもりなんだ?|ちょっと待って、すぐに戻るから。|いいえ、そんなことは言っていません。|会議は三時に始まります。
        本当にごめん、僕が悪かった。|彼はもう出発しました。|ドアを閉めて静かにしてください。|一緒なら、きっとできるよ。
        何があったのか話してくれ。|この動画では新しい機能を紹介します。|お腹が空いて死にそうだ。|お母さんから電話があったよ。
        大丈夫ですか?けがはありませんか?|それは私の責任ではない。|明日の朝早く出かけよう。|皆さん、こんにちは。
        水は百度で沸騰します。|夢を見ていたようだ。|なぜ誰も答えないんだ?|ありがとうございました、また今度。""",
    ),
    "zh-Hans": (
        ("gb18030",),
        """
        你现在要去哪里?|等一下,我马上就来。|不,我从来没有说过那种话。|今天的会议三点开始。|真的对不起,是我错了。
        那个人已经走了。|请把门关上,安静一点。|只要我们在一起就能做到。|告诉我发生了什么事。|在这个视频里,我们介绍新的功能。
        我快饿死了。|妈妈刚才打电话来了。|你没事吧?伤得重吗?|这不是我的责任。|明天早上早点出发吧。|大家好,很高兴见到你们。
        水在一百度沸腾。|我好像做了一个梦。|为什么没有人回答?|谢谢,我们下次再见。""",
    ),
    "zh-Hant": (
        ("big5",),
        """
        你現在要去哪裡?|等一下,我馬上就來。|不,我從來沒有說過那種話。|今天的會議三點開始。|真的對不起,是我錯了。
        那個人已經走了。|請把門關上,安靜一點。|只要我們在一起就能做到。|告訴我發生了什麼事。|在這個影片裡,我們介紹新的功能。
        我快餓死了。|媽媽剛才打電話來了。|你沒事吧?傷得重嗎?|這不是我的責任。|明天早上早點出發吧。|大家好,很高興見到你們。
        水在一百度沸騰。|我好像做了一個夢。|為什麼沒有人回答?|謝謝,我們下次再見。""",
    ),
    "fr": (
        ("cp1252",),
        """
        Où est-ce que tu vas maintenant ?|Attends, j'arrive tout de suite.|Non, je n'ai jamais dit ça.
        La réunion commence à trois heures.|Je suis désolé, c'était ma faute.|Cet homme est déjà parti.
        Fermez la porte et taisez-vous, s'il vous plaît.|Ensemble, nous pouvons y arriver.|Raconte-moi ce qui s'est passé.
        Dans cette vidéo, nous présentons une nouveauté.|Je meurs de faim.|Ta mère a téléphoné.|Ça va ? Vous êtes blessé ?
        Ce n'est pas ma responsabilité.|Partons tôt demain matin.|Bonjour à tous, enchanté.|L'eau bout à cent degrés.
        J'ai dû rêver.|Pourquoi est-ce que personne ne répond ?|Merci, à la prochaine.""",
    ),
    "de": (
        ("cp1252",),
        """
        Wohin gehst du jetzt?|Warte mal, ich komme gleich.|Nein, das habe ich nie gesagt.|Die Besprechung fängt um drei Uhr an.
        Es tut mir wirklich leid, das war mein Fehler.|Der Mann ist schon weg.|Bitte schließen Sie die Tür und seien Sie still.
        Zusammen können wir es schaffen.|Erzähl mir, was passiert ist.|In diesem Video stellen wir eine neue Funktion vor.
        Ich sterbe vor Hunger.|Deine Mutter hat angerufen.|Alles in Ordnung? Sind Sie verletzt?|Dafür bin ich nicht zuständig.
        Lass uns morgen früh losfahren.|Hallo zusammen, schön euch zu sehen.|Wasser kocht bei hundert Grad.
        Ich muss geträumt haben.|Warum antwortet denn keiner?|Danke, bis zum nächsten Mal.""",
    ),
    "es": (
        ("cp1252",),
        """
        ¿Adónde vas ahora?|Espera, ya voy.|No, yo nunca dije eso.|La reunión empieza a las tres.
        Lo siento mucho, fue culpa mía.|Ese hombre ya se marchó.|Cierren la puerta y guarden silencio, por favor.
        Juntos podemos lograrlo.|Cuéntame qué pasó.|En este vídeo presentamos una función nueva.|Me muero de hambre.
        Tu madre llamó por teléfono.|¿Está bien? ¿Se hizo daño?|Eso no es responsabilidad mía.|Salgamos mañana temprano.
        Hola a todos, mucho gusto.|El agua hierve a cien grados.|Debo de haber soñado.|¡Vamos, niños!
        Gracias, hasta la próxima.""",
    ),
    "pt": (
        ("cp1252",),
        """
        Aonde você vai agora?|Espere, já estou indo.|Não, eu nunca disse isso.|A reunião começa às três.
        Sinto muito, a culpa foi minha.|Aquele homem já foi embora.|Fechem a porta e façam silêncio, por favor.
        Juntos nós conseguimos.|Conte-me o que aconteceu.|Neste vídeo apresentamos uma função nova.|Estou morrendo de fome.
        Sua mãe ligou.|Você está bem? Está ferido?|Isso não é responsabilidade minha.|Vamos sair amanhã cedo.
        Olá a todos, muito prazer.|A água ferve a cem graus.|Devo ter sonhado.|Por que ninguém responde?
        Obrigado, até a próxima.""",
    ),
    "it": (
        ("cp1252",),
        """
        Dove vai adesso?|Aspetta, arrivo subito.|No, non l'ho mai detto.|La riunione comincia alle tre.
        Mi dispiace davvero, è stata colpa mia.|Quell'uomo è già andato via.|Chiudete la porta e fate silenzio, per favore.
        Insieme possiamo farcela.|Raccontami che cosa è successo.|In questo video presentiamo una novità.|Sto morendo di fame.
        Ha telefonato tua madre.|Va tutto bene? Si è fatto male?|Non è responsabilità mia.
        Partiamo presto domani, così arriviamo prima.|Ciao a tutti, piacere.|L'acqua bolle a cento gradi.|Devo aver sognato.
        Perché nessuno risponde più?|Grazie, alla prossima.""",
    ),
    "sv": (
        ("cp1252",),
        """
        Vart ska du nu?|Vänta lite, jag kommer strax.|Nej, det har jag aldrig sagt.|Mötet börjar klockan tre.
        Jag är verkligen ledsen, det var mitt fel.|Den mannen har redan gått.|Stäng dörren och var tysta.
        Tillsammans klarar vi det.|Berätta vad som hände.|I den här videon visar vi en ny funktion.
        Jag håller på att svälta ihjäl.|Din mamma ringde.|Hur är det? Är ni skadad?|Det är inte mitt ansvar.
        Vi åker tidigt i morgon.|Hej allihop, trevligt att träffas.|Vatten kokar vid hundra grader.|Jag måste ha drömt.
        Varför svarar ingen?|Tack, vi ses nästa gång.""",
    ),
    "pl": (
        ("cp1250",),
        """
        Dokąd teraz idziesz?|Poczekaj, zaraz przyjdę.|Nie, nigdy tego nie powiedziałem.|Zebranie zaczyna się o trzeciej.
        Naprawdę przepraszam, to moja wina.|Ten człowiek już wyszedł.|Proszę zamknąć drzwi i być cicho.|Razem damy radę.
        Powiedz mi, co się stało.|W tym filmie przedstawiamy nową funkcję.|Umieram z głodu.|Dzwoniła twoja matka.
        Wszystko w porządku? Jest pan ranny?|To nie mój obowiązek.|Wyruszmy jutro wcześnie rano.
        Cześć wszystkim, miło was widzieć.|Woda wrze w stu stopniach.|Chyba mi się śniło.|Dlaczego nikt nie odpowiada?
        Dziękuję, do następnego razu.""",
    ),
    "cs": (
        ("cp1250",),
        """
        Kam teď jdeš?|Počkej, hned přijdu.|Ne, to jsem nikdy neřekl.|Schůzka začíná ve tři hodiny.
        Opravdu se omlouvám, byla to moje chyba.|Ten muž už odešel.|Zavřete prosím dveře a buďte zticha.|Společně to dokážeme.
        Řekni mi, co se stalo.|V tomto videu představujeme novou funkci.|Umírám hlady.|Volala tvoje matka.
        Jste v pořádku? Jste zraněný?|Za to nejsem zodpovědný.|Vyrazíme zítra brzy ráno.|Ahoj všichni, rád vás vidím.
        Voda vře při sto stupních.|Asi se mi to zdálo.|Proč nikdo neodpovídá?|Děkuji, příště na shledanou.""",
    ),
    "hu": (
        ("cp1250",),
        """
        Hová mész most?|Várj, mindjárt jövök.|Nem, én ezt soha nem mondtam.|Az értekezlet háromkor kezdődik.
        Nagyon sajnálom, az én hibám volt.|Az az ember már elment.|Csukják be az ajtót, és maradjanak csendben.
        Együtt meg tudjuk csinálni.|Mondd el, mi történt.|Ebben a videóban egy új funkciót mutatunk be.|Éhen halok.
        Telefonált az anyád.|Jól van? Megsérült?|Ez nem az én felelősségem.|Induljunk holnap korán reggel.
        Sziasztok, örülök, hogy látlak benneteket.|A víz száz fokon forr.|Biztosan álmodtam.|Miért nem válaszol senki?
        Köszönöm, a következő viszontlátásra, hölgyem és uram, a vőfély is űrhajós.""",
    ),
    "ru": (
        ("cp1251",),
        """
        Куда ты сейчас идёшь?|Подожди, я сейчас приду.|Нет, я никогда этого не говорил.|Совещание начинается в три часа.
        Мне очень жаль, это моя вина.|Тот человек уже ушёл.|Закройте дверь и ведите себя тихо.|Вместе мы справимся.
        Расскажи мне, что случилось.|В этом видео мы представляем новую функцию.|Умираю с голоду.|Звонила твоя мать.
        Вы в порядке? Вы ранены?|Это не моя ответственность.|Давай выедем завтра рано утром.|Всем привет, рад вас видеть.
        Вода кипит при ста градусах.|Наверное, мне приснилось.|Почему никто не отвечает?|Спасибо, до следующего раза.""",
    ),
    "uk": (
        ("cp1251",),
        """
        Куди ти зараз ідеш?|Зачекай, я зараз прийду.|Ні, я ніколи цього не казав.|Нарада починається о третій.
        Мені дуже шкода, це моя провина.|Той чоловік уже пішов.|Зачиніть двері й поводьтеся тихо.|Разом ми впораємося.
        Розкажи мені, що сталося.|У цьому відео ми показуємо нову функцію.|Помираю з голоду.|Телефонувала твоя мати.
        З вами все гаразд? Ви поранені?|Це не моя відповідальність.|Виїдьмо завтра рано-вранці.|Усім привіт, радий вас бачити.
        Вода кипить при ста градусах.|Мабуть, мені наснилося.|Чому ніхто не відповідає?|Дякую, до наступного разу.""",
    ),
}
"""Legacy encodings and about 20 sentences, separated by bars or line breaks, of each language."""


def lines_of(language: str) -> list[str]:
    """Return the sentences of a language."""
    return [line.strip() for line in SENTENCES[language][1].replace("|", "\n").splitlines() if line.strip()]
